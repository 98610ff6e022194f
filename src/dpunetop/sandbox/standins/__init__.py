"""Stand-ins for the programs that have no place on one machine: small controllers on the project's own engine."""
