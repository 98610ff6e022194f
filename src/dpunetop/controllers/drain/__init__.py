"""The drain of DPUs: one key for all pairs of a DpuClusterConfig, and one for each tenant host.

`pairs` computes the pairs and publishes them as a roster in the `DrainStore`; `hosts` protects and drains one host at a
time, and reports its state there. Their decisions are in `domain.drain`.
"""
