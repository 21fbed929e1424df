"""Makes the encoder that is served: a backbone, a projection to 256 dimensions, one ONNX file, one model card."""
