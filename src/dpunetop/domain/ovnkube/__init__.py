"""OVN-Kubernetes on the DPUs: the tenant's release and settings, and the DaemonSet made of them."""
