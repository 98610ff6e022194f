"""Preflight: whether both clusters meet the operator's needs, judged by the objects that a person may read."""
