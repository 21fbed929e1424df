"""Export of encoders to ONNX and their publication into the model repository."""
