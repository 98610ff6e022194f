"""`DpuNode`: one object a card, that says where it stands, since when, why, and what to do."""
