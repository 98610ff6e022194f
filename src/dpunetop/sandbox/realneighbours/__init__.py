"""The neighbours: a machine-config-controller and a node maintenance operator in place of what stands in for them."""
