"""Pictures: decode, crop, resize, hash, draw. No server and no setting."""
