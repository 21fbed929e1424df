"""The REST interface: one router per noun."""
