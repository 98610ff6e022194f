"""Vocabulary of the Kubernetes API: data and pure functions, no I/O, no threads, no clock."""
