"""Hosts that lose their network outside a drain: detected, reported, and cordoned if the spec says so."""
