"""The model of the drain: facts of both clusters, the record, and calls as data."""
