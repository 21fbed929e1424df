"""Training of the encoder and its evaluation."""
