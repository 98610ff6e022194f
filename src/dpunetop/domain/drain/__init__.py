"""A DPU node's protection, and its drain, which waits for that of its tenant host."""
