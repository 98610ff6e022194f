"""The DpuClusterConfig: its spec, its nodes, its status, and its end."""
