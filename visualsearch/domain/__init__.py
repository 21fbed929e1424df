"""The domain model: plain values, and the errors that the whole project raises."""
