"""Milvus: the vector collections."""
