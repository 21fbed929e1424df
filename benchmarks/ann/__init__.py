"""Recall and latency of approximate search: data, a yardstick in process, and the sweep through Milvus."""
