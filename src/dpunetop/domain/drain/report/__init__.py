"""Reports about pairs and drains for people."""
