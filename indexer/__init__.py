"""The indexer: events from the stream become searchable pictures."""
