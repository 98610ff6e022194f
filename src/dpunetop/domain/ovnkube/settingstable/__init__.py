"""The verdict on each setting of a tenant for its DPUs: followed, refused, not followed, or not for a DPU."""
