"""The harness: real control planes on this machine, for tests, fault injection, benchmarks and the command `sandbox`.

The operator never imports it.
"""
