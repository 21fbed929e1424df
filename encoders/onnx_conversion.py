"""Convert an encoder from torch to one ONNX file, with normalisation inside the graph."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

import onnx
import torch
from torch import nn

from visualsearch.domain.images import IMAGE_SIDE

if TYPE_CHECKING:
    from encoders.backbones import Backbone
    from encoders.projection import Projection

OPSET = 18


class ProjectedBackbone(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """uint8 [n, 224, 224, 3] to float32 [n, 256] of unit length, and to the backbone's feature map if it has one."""

    def __init__(self, backbone: Backbone, projected: Projection) -> None:
        super().__init__()
        self.backbone = backbone.network
        self.linear = nn.Linear(backbone.features, len(projected.matrix))
        matrix, mean = torch.from_numpy(projected.matrix), torch.from_numpy(projected.mean)
        with torch.no_grad():
            self.linear.weight.copy_(matrix)
            self.linear.bias.copy_(-matrix @ mean)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Embed uint8 [n, 224, 224, 3]: float32 [n, 256], and [n, channels, rows, columns] for a feature map."""
        features, feature_map = self.backbone.with_map(pixels)
        embedding = nn.functional.normalize(self.linear(features), dim=1)
        return (embedding,) if feature_map is None else (embedding, feature_map)


def to_onnx(encoder: nn.Module) -> bytes:
    """Return the encoder as an ONNX file: input ``pixels``; outputs ``embedding`` and, if it has one, ``feature_map``.

    The batch size is dynamic. The feature map is an intermediate tensor of the embedding, so the output costs nothing
    unless a client requests it.
    """
    two = torch.zeros((2, IMAGE_SIDE, IMAGE_SIDE, 3), dtype=torch.uint8)
    with torch.inference_mode():
        given = encoder.eval()(two)
    outputs = len(given) if isinstance(given, tuple) else 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            encoder,
            (two,),
            input_names=["pixels"],
            output_names=["embedding", "feature_map"][:outputs],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = program.model_proto
    _forget_origin(model)
    onnx.checker.check_model(model)
    out = BytesIO()
    onnx.save(model, out)
    return out.getvalue()


def _forget_origin(model: onnx.ModelProto) -> None:
    """Remove names of source files and stack traces, so that exports of one encoder are identical on every machine."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    parts: list[Any] = [*model.graph.node, *model.graph.input, *model.graph.output]
    parts += [*model.graph.value_info, *model.graph.initializer]
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""
