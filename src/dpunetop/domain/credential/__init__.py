"""The credential of the DPU pods in the tenant."""
