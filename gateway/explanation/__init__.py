"""Explains results: which regions of two pictures are similar. Depends on no framework and no server."""
