"""Sound but unusual picture files, made from a few lines each: what cameras, scanners and drawing programs write."""
