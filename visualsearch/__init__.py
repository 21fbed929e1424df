"""Image-to-image search: the code that the gateway, the indexer and the command line share."""
