"""What becomes of each setting of a tenant on its DPUs: followed, refused, not followed, or no matter of a DPU's."""
