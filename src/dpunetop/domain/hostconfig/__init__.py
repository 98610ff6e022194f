"""The operating system of the DPUs, as the machine-config operator applies it."""
