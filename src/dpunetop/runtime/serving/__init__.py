"""HTTP servers of the operator: health, metrics, and who may read them."""
