"""The gateway: a thin FastAPI and gRPC layer over encoder, vector index and catalog."""
