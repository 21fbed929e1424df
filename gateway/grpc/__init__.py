"""The gRPC face of the gateway: `visualsearch.v1`."""
