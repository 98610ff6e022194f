"""The drain of DPUs: one worker for all pairs of a DpuClusterConfig, and one for each tenant host.

`pairs` sees who is paired with whom and posts it on the `board`; `hosts` protects and drains one host at a time and
posts there how far it is.
"""
