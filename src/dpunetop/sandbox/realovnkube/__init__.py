"""The bed: OVN-Kubernetes itself in place of what stands in for it, on DPUs and hosts made of namespaces."""
