"""Triton Inference Server: inference and model control."""
