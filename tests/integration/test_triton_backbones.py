"""Encoders on other backbones are served by Triton as torch computes them."""

import importlib.util
import json
import os

import numpy as np
import pytest

from benchmarks.triton import loaded
from tests.reference_pictures import REFERENCE, pixels

pytestmark = [
    pytest.mark.torch,
    pytest.mark.stack,
    pytest.mark.skipif(
        importlib.util.find_spec("torch") is None and not os.environ.get("VISUALSEARCH_REQUIRE_TORCH"),
        reason="torch is not installed",
    ),
]


TINY = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 224, "layers": 2, "width": 64, "patch_size": 32},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 2, "layers": 1},
}
"""A ViT-B-32 but for its size; the real one takes the same way in benchmarks/results/variants.md."""


def test_an_open_clip_model_is_served_by_triton_as_torch_computes_it(stack, tmp_path):
    import torch

    from encoders import backbones, onnx_conversion, projection

    backbones.load(backbones.RESNET50)  # makes torchvision importable, which open_clip needs
    import open_clip

    (tmp_path / "ViT-tiny-32.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(tmp_path)
    backbone = backbones.load("ViT-tiny-32")
    encoder = onnx_conversion.ProjectedBackbone(backbone, projection.orthogonal(backbone.features, 256, 0)).eval()
    with np.load(REFERENCE) as stored:
        batch = pixels(stored["names"].tolist()[:8])
    with torch.inference_mode():
        wanted = encoder(torch.from_numpy(batch))[0].numpy()
    with loaded(stack, onnx_conversion.to_onnx(encoder), "clip_test") as embed:
        given = embed(batch)
    assert (given * wanted).sum(1).min() >= 0.9999
