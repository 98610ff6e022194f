"""Hands: gather from caches, let the domain decide, have the executor write. One file a controller."""
