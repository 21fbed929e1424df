"""From an event on the stream to a searchable picture."""
