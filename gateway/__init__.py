"""The gateway: a thin FastAPI and gRPC layer over the encoder, the vector index and Postgres."""
