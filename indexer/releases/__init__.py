"""Builds, evaluates and tunes releases in the background."""
