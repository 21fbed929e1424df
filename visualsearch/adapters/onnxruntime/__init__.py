"""ONNX Runtime in process, for platforms without Triton."""
