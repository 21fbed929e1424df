"""Recall and latency of approximate search: data, faiss in process for comparison, and the sweep through Milvus."""
