"""What the operator decides. Nothing here does I/O, reads a clock, or knows of threads."""
