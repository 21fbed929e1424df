"""What training and export share: backbones, projection, checkpoint format. Needs torch."""
