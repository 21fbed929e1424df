"""The worker processes of the gateway: supervision, rate limits and process metrics."""
