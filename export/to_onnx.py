"""Write an encoder as one ONNX file: pixels in, unit vectors out, normalisation inside.

    python -m export.to_onnx encoder.onnx --fit openclipart=FOLDER --fit photos=FOLDER
    python -m export.to_onnx encoder.onnx --backbone ViT-B-32 --pretrained FILE_OR_TAG
    python -m export.to_onnx encoder.onnx --checkpoint out/training/checkpoint.pt --rotate opq.npz

`visualsearch export` is the same command. It also writes ``encoder.json`` beside the ONNX file, which records where the
model comes from. ``export.publish`` generates the model card from it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from encoders import backbones, projection, projection_fitting
from encoders.onnx_conversion import ProjectedBackbone, to_onnx
from export import checkpoint_to_encoder, opq
from visualsearch.domain.errors import ConfigurationError, VisualSearchError
from visualsearch.domain.images import EMBEDDING_DIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoders.backbones import Backbone
    from encoders.projection import Projection


def description(
    backbone: Backbone, projected: Projection, lineage: dict[str, Any] | None = None, words: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the origin of an encoder for its model card; ``words`` are the arguments of the command."""
    return {
        "backbone": {"name": backbone.name, "weights": backbone.weights, "licence": backbone.licence},
        "projection": {"how": projected.how, "fitted_on": dict(projected.fitted_on)},
        "training": lineage or {},
        "export": {"arguments": list(words), "commit": checkpoint_to_encoder.commit()},
        "torch": torch.__version__.split("+")[0],
    }


def _parts(arguments: argparse.Namespace) -> tuple[Backbone, Projection, dict[str, Any]]:
    """Load the backbone and the projection that the arguments name; return them with the lineage of the checkpoint."""
    if arguments.checkpoint:
        backbone, projected, lineage = checkpoint_to_encoder.read(arguments.checkpoint, arguments.pretrained)
    else:
        backbone, lineage = backbones.load(arguments.backbone, arguments.pretrained), {}
        projected = _projection(arguments, backbone)
    if len(projected.matrix) != EMBEDDING_DIM:
        raise ConfigurationError(
            f"{backbone.name} gives {backbone.features} features; with no projection it must give {EMBEDDING_DIM}."
        )
    return backbone, opq.folded(projected, opq.read(arguments.rotate)) if arguments.rotate else projected, lineage


def _projection(arguments: argparse.Namespace, backbone: Backbone) -> Projection:
    if arguments.projection == "none":
        return projection.identity(backbone.features)
    if backbone.features < EMBEDDING_DIM:
        raise ConfigurationError(f"{backbone.name} gives {backbone.features} features, too few for {EMBEDDING_DIM}.")
    if arguments.projection == "orthogonal" or not (arguments.projection or arguments.fit):
        return projection.orthogonal(backbone.features, EMBEDDING_DIM, arguments.seed)
    return projection_fitting.fitted(backbone, dict(arguments.fit), EMBEDDING_DIM, arguments.leave_out)


def _named_folder(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=FOLDER, where the folder exists")
    return name, Path(folder)


def main(words: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="visualsearch export", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, nargs="?", default=Path("encoder.onnx"), help="the ONNX file; %(default)s")
    parser.add_argument(
        "--backbone",
        default=backbones.LITE0,
        help=f"%(default)s, {backbones.RESNET50}, or an OpenCLIP model such as ViT-B-32",
    )
    parser.add_argument(
        "--pretrained",
        default="",
        help="a file of weights; OpenCLIP: or a tag; without it only EfficientNet-Lite0 has any",
    )
    parser.add_argument("--checkpoint", type=Path, help="written by training/train.py; sets backbone and projection")
    parser.add_argument("--rotate", type=Path, help="fold in a rotation that `python -m export.opq` learned")
    parser.add_argument(
        "--projection",
        choices=("pca", "orthogonal", "none"),
        help="to 256 numbers: pca where --fit is given; else orthogonal, which is random and keeps angles nearly",
    )
    parser.add_argument(
        "--fit", type=_named_folder, action="append", default=[], help="NAME=FOLDER of pictures for pca"
    )
    parser.add_argument(
        "--leave-out", type=Path, help="a CSV file whose column `original` names pictures not to fit on"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the orthogonal projection")
    arguments = parser.parse_args(words)
    try:
        backbone, projected, lineage = _parts(arguments)
        arguments.out.write_bytes(to_onnx(ProjectedBackbone(backbone, projected)))
    except VisualSearchError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    about = description(backbone, projected, lineage, sys.argv[1:] if words is None else words)
    arguments.out.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n")
    if backbone.weights == backbones.RANDOM:
        warning = f"{arguments.out} has RANDOM weights: name a file of weights with --pretrained."
        print(warning, file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
