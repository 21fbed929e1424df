"""Build the served encoder: a backbone and a projection to 256 dimensions in one ONNX file, with a model card."""
