"""The encoder during training: a backbone, a projection to a chosen dimension, and the checkpoint file of both."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from encoders import backbones
from visualsearch.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
"""Version of the checkpoint format, which ``export`` reads."""


class TrainableProjection(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """``normalize((features - mean) @ matrix.T)``: float32 [n, features] to unit embeddings [n, dim]."""

    mean: torch.Tensor

    def __init__(self, matrix: torch.Tensor, mean: torch.Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix.clone().float())
        self.register_buffer("mean", mean.clone().float())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Project and normalise."""
        # Use float32 for any precision of the backbone. It costs almost nothing and keeps unit length exact.
        with torch.autocast(features.device.type, enabled=False):
            return functional.normalize((features.float() - self.mean) @ self.matrix.T, dim=1)


class TrainableEncoder(nn.Module):  # type: ignore[misc]
    """uint8 [n, 224, 224, 3] to (unit embeddings [n, dim], features of the untrained backbone [n, features]).

    Floating-point input [n, features] is treated as precomputed features.
    The backbone's batch statistics stay frozen, so that a picture's embedding never depends on its batch, and large
    batches can be split.
    """

    def __init__(self, backbone: backbones.Backbone, projection: TrainableProjection, tuned: bool) -> None:
        super().__init__()
        self.name, self.features = backbone.name, backbone.features
        self.backbone = backbone.network.eval().requires_grad_(tuned)
        self.teacher = copy.deepcopy(self.backbone).requires_grad_(False) if tuned else None
        self.projection = projection

    @property
    def tuned(self) -> bool:
        """Whether the backbone is trained too."""
        return self.teacher is not None

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed pixels or features."""
        if pixels.is_floating_point():
            return self.projection(pixels), pixels
        with torch.set_grad_enabled(self.tuned and torch.is_grad_enabled()):
            features = self.backbone(pixels)
        with torch.no_grad():
            raw = self.teacher(pixels) if self.teacher is not None else features
        return self.projection(features), raw.detach()

    def train(self, mode: bool = True) -> TrainableEncoder:
        """Set the mode, but keep the backbone's batch statistics frozen."""
        super().train(mode)
        self.backbone.eval()
        return self


def saved(
    encoder: TrainableEncoder, arguments: dict[str, Any], data: dict[str, Any], resume: dict[str, Any]
) -> dict[str, Any]:
    """Return a checkpoint: the data that ``export`` needs for an ONNX file, and that training needs to resume."""
    return {
        "format": FORMAT,
        "backbone": encoder.name,
        "dim": len(encoder.projection.matrix),
        "projection": {"matrix": encoder.projection.matrix.detach().cpu(), "mean": encoder.projection.mean.cpu()},
        "backbone_state": encoder.backbone.state_dict() if encoder.tuned else None,
        "arguments": arguments,
        "data": data,
        "resume": resume,
    }


def write(file: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.writing")
    torch.save(checkpoint, beside)
    beside.replace(file)


def load(file: Path, backbone: str | None = None, dim: int | None = None) -> dict[str, Any]:
    """Read a checkpoint. Raises ``ConfigurationError`` if it is invalid, or of another backbone or dimension."""
    try:
        checkpoint: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        if checkpoint["format"] != FORMAT:
            raise ConfigurationError(f"{file} is a checkpoint of format {checkpoint['format']}; this reads {FORMAT}.")
    except FileNotFoundError:
        raise ConfigurationError(f"There is no checkpoint {file}.") from None
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError):
        raise ConfigurationError(f"{file} is no checkpoint of training/train.py.") from None
    if backbone is not None and checkpoint["backbone"] != backbone:
        raise ConfigurationError(f"{file} is of the backbone {checkpoint['backbone']}, not {backbone}.")
    if dim is not None and checkpoint["dim"] != dim:
        raise ConfigurationError(f"{file} has {checkpoint['dim']} dimensions, not {dim}.")
    return checkpoint
