"""The drain of DPUs: one key for all pairs of a DpuClusterConfig, and one for each tenant host.

`pairs` finds who is paired with whom and publishes that as a roster in the `DrainStore`; `hosts` protects and drains
one host at a time, and reports there how far it is. What they decide is in `domain.drain`.
"""
