"""The life of a DPU node: its protection, and the drain that is mirrored onto its tenant host."""
