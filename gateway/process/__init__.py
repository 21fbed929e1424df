"""The worker processes of the gateway: supervision, middleware, limits, metrics."""
