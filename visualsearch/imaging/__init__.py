"""Picture processing: decode, crop, resize, hash, draw. Uses no server and no setting."""
