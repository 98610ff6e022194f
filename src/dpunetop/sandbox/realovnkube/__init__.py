"""A testbed with a real OVN-Kubernetes in place of its stand-in; DPU and host are network namespaces."""
