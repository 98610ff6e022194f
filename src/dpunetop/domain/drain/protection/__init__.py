"""Protection: a DPU's blocker, budget and entry, and the order in which they change."""
