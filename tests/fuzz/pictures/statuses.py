"""The HTTP statuses that a hostile file may get."""

ACCEPTED = (200,)
BROKEN = (422,)
TOO_LARGE = (413,)
UNSUPPORTED = (415,)
TAKEN_OR_BROKEN = ACCEPTED + BROKEN
"""The file is on the border. What matters is that it hurts nothing."""
