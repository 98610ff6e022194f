"""The tenant's kubeconfig: parsed, checked, and accepted as the way to one cluster."""
