"""One search, from bytes to ranked results. Knows no framework and no server."""
