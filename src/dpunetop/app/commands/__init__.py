"""Commands for people: what both clusters show, told without an operator and without a write."""
