"""Stand-ins for the programs that cannot run on one machine: small controllers on the project's own engine."""
