"""The HTTP servers for health and metrics, with authentication and authorization."""
