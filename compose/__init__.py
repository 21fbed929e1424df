"""The local runner: the real servers as supervised plain processes."""
