"""Preflight: whether both clusters are as the operator needs them, judged over what a person may see of them."""
