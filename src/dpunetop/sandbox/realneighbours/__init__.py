"""A real machine-config-controller and a real node maintenance operator, in place of their stand-ins."""
