"""The harness: real control planes on this machine, for tests, fault plans, benchmarks and the sandbox command.

The operator never imports it.
"""
