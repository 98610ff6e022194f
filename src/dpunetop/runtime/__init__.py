"""The engine: caches, queues, executor, election. It knows Kubernetes, and no DPU."""
