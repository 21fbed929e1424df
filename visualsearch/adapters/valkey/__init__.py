"""Valkey (or Redis): streams, queues, counters and rate limits."""
