"""The content of a support archive: for each kind the listed fields, and text without secrets."""
