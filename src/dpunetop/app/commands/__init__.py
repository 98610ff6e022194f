"""Commands for people: they read both clusters, with or without a running operator, and write nothing."""
