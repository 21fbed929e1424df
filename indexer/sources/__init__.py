"""Where indexing events come from: the change feed of the store, folders, buckets."""
