"""The safety rules of the drain, and the tasks that carry them out."""
