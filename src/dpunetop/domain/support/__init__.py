"""What may leave a cluster in a support archive: for each kind the fields that are listed, and text without secrets."""
