"""The gRPC API of the gateway: `visualsearch.v1`."""
