"""Hosts that lose their network outside a drain: seen, told, and cordoned if the spec says so."""
