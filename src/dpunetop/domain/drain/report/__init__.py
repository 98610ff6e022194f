"""What people are told about pairs and drains."""
