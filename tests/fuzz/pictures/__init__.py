"""Hostile files: pictures mutated with knowledge of their format, and files crafted to hurt a decoder."""
