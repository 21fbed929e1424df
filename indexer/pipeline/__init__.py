"""The indexing pipeline, from an event on the stream to a searchable picture."""
