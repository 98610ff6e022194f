"""`DpuNode`: one object for each card, with its phase, since when, why, and what to do."""
