"""Sources of indexing events: the store's change feed, folders and buckets."""
