"""The indexer: turns events of the stream into searchable pictures."""
