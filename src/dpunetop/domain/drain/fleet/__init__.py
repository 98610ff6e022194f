"""All pairs of a DpuClusterConfig: who serves whom, and which host is drained next."""
