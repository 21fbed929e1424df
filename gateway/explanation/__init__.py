"""Why a result was found: the regions of two pictures that agree. Knows no framework and no server."""
