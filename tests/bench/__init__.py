"""Benchmarks of the shipped process on real control planes: `make bench`."""
