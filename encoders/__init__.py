"""Code shared by training and export: backbones, projection and checkpoint format. Requires torch."""
