"""The decisions of the operator, pure: nothing here does I/O, reads a clock, or uses threads."""
