"""Image-to-image search: what the gateway, the indexer and the command share."""
