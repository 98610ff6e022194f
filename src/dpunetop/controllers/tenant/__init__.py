"""Each tenant: the link to it, and the credential of the DPU pods in it."""
