"""The engine: caches, work queues, executor, leader election. It knows Kubernetes but no DPU."""
