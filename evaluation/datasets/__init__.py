"""Fetch and read public pictures from packages."""
