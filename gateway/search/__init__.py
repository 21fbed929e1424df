"""The steps of a search, from bytes to ranked results. Depends on no framework and no server."""
