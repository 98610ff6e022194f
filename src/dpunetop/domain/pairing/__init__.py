"""Which DPU serves which host: what people write, and what the pods read."""
