"""What the drain knows: facts of both clusters, the record, and calls as data."""
