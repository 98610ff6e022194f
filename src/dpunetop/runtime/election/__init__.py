"""Leader election, and the gate that lets only the leader write."""
