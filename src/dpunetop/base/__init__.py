"""Foundation: time, stopping and JSON. Knows neither Kubernetes nor DPUs."""
