"""Releases: their lifecycle, routing, canary, and reconciliation with Triton and Milvus."""
