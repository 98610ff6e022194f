"""The controllers: gather from caches, let the domain decide, have the executor write. One file for each controller."""
