"""All pairs of a DpuClusterConfig: which DPU serves which host, and which host is drained next."""
