"""The gateway: a thin FastAPI and gRPC front over encoder, vectors and catalog."""
