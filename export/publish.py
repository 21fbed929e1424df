"""Add an encoder to Triton's model repository, with its model card.

    python -m export.publish encoder.onnx --version 2 --semver 0.2.0 --metrics golden.json

Publishing is atomic for a running Triton. The version is written to a hidden folder, which is renamed at the end.
config.pbtxt, which lists the versions to load, is then replaced in one step; of its comments, those at the top are
kept. To finish an interrupted run, repeat the command.

The output ``feature_map`` is optional, and config.pbtxt applies to all versions that it lists. It declares the map only
if all of them have a map of the same shape, because Triton refuses a version that lacks a declared output.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from tritonclient.grpc.model_config_pb2 import DataType, ModelOutput

from evaluation.offline.duplicate_calibration import calibrate, calibration_pictures
from visualsearch.adapters.triton.model_config import read_config, write_config
from visualsearch.domain.errors import ConfigurationError, VisualSearchError
from visualsearch.domain.images import EMBEDDING_DIM, IMAGE_SIDE, UNIT_NORM_TOLERANCE
from visualsearch.imaging.preprocessing import PREPROCESSING, fingerprint

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

MODEL = "image_encoder"
log = logging.getLogger(__name__)

FEATURE_MAP = "feature_map"
_SEMVER = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


def card(model: bytes, semver: str, about: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the model card of an ONNX file. ``about`` is the metadata that ``export.to_onnx`` wrote beside it."""
    return {
        "name": MODEL,
        "semver": semver,
        "fingerprint": fingerprint(model),
        "graph_sha256": hashlib.sha256(model).hexdigest(),
        "preprocessing": PREPROCESSING,
        "input": {"name": "pixels", "type": "uint8", "shape": ["n", IMAGE_SIDE, IMAGE_SIDE, 3], "order": "RGB"},
        "output": {"name": "embedding", "type": "float32", "shape": ["n", EMBEDDING_DIM], "length": 1},
        "feature_map": feature_map_shape(model),
        **about,
        "metrics": metrics,
    }


def check(model: bytes) -> None:
    """Run an ONNX file on a black and a white picture. Raises ``ConfigurationError`` if it is not a valid encoder."""
    pixels = np.zeros((2, IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
    pixels[1] = 255
    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        (embedding,) = session.run(["embedding"], {"pixels": pixels})
    except Exception as error:  # the runtime's error classes have no public base class
        raise ConfigurationError(f"The file is no encoder that ONNX Runtime can run: {error}") from None
    if embedding.shape != (2, EMBEDDING_DIM):
        raise ConfigurationError(
            f"The encoder gives {embedding.shape} for 2 pictures; it must give (2, {EMBEDDING_DIM})."
        )
    if not np.allclose(np.linalg.norm(embedding, axis=1), 1, atol=UNIT_NORM_TOLERANCE):
        raise ConfigurationError("The encoder's embeddings are not of unit length.")


def feature_map_shape(model: bytes) -> list[int] | None:
    """Return (channels, rows, columns) of an encoder's feature map, or None if it has none."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    shapes = {one.name: one.shape for one in session.get_outputs()}
    return list(shapes[FEATURE_MAP][1:]) if FEATURE_MAP in shapes else None


def near_duplicates(model: bytes, folder: Path) -> dict[str, Any]:
    """Calibrate the cosine of near-duplicates of an ONNX file, by copies of the pictures in a folder.

    Raises ``InvalidInput`` if the folder holds no picture.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return calibrate(calibration_pictures(folder), lambda pixels: session.run(["embedding"], {"pixels": pixels})[0])


def publish(model: bytes, model_card: dict[str, Any], repository: Path, version: int) -> Path:
    """Add a version to the model repository and return its folder. Versions are never overwritten.

    If an earlier run was interrupted after writing the version, add the version to config.pbtxt.

    Raises ``ConfigurationError`` if the version exists, the model does not work or config.pbtxt has no version policy.
    """
    check(model)
    file = repository / MODEL / "config.pbtxt"
    config = read_config(file)
    if not config.version_policy.HasField("specific"):
        raise ConfigurationError(f"{file} has no version_policy {{ specific {{ versions: [1] }} }}.")
    folder = repository / MODEL / str(version)
    named = version in config.version_policy.specific.versions
    if folder.exists() and not named and (folder / "model.onnx").read_bytes() == model:
        _name_version(file, config, version)
        return folder
    if folder.exists():
        raise ConfigurationError(f"Version {version} exists already in {repository}; choose a higher number.")
    hidden = folder.with_name(f".{version}.writing")
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir()
    (hidden / "model.onnx").write_bytes(model)
    (hidden / "card.json").write_text(json.dumps(model_card, indent=2) + "\n")
    hidden.rename(folder)
    _name_version(file, config, version)
    return folder


def _name_version(file: Path, config: ModelConfig, version: int) -> None:
    """Add a version to those that Triton loads. Declare the feature map if all versions have one of the same shape."""
    policy = config.version_policy.specific
    versions = sorted({*policy.versions, version})
    policy.versions[:] = versions
    models = [file.with_name(str(number)) / "model.onnx" for number in versions]
    shapes = [feature_map_shape(model.read_bytes()) for model in models if model.exists()]
    shared = shapes[0] if all(shape == shapes[0] for shape in shapes) else None
    _declare_feature_map(config, shared)
    write_config(file, config)
    if shared is None and any(shapes):
        log.warning(
            "The versions %s have feature maps of different shapes, and config.pbtxt can declare only one. No version "
            "can explain results (GET /explain) until all have the same.",
            ", ".join(map(str, versions)),
        )


def _declare_feature_map(config: ModelConfig, shape: list[int] | None) -> None:
    """Declare a feature map of this shape among the outputs, or none."""
    outputs = [one for one in config.output if one.name != FEATURE_MAP]
    if shape is not None:
        outputs.append(ModelOutput(name=FEATURE_MAP, data_type=DataType.TYPE_FP32, dims=shape))
    del config.output[:]
    config.output.extend(outputs)


def main(words: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="export.publish", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path, help="the ONNX file; the JSON file beside it says where it comes from")
    parser.add_argument("--version", type=int, required=True, help="Triton's version number")
    parser.add_argument("--semver", required=True, help="the version for people, such as 0.2.0")
    parser.add_argument("--metrics", type=Path, help="a JSON file of what was measured")
    parser.add_argument(
        "--pictures",
        type=Path,
        default=Path("demo/pictures"),
        help="a folder of pictures whose copies tell at which cosine near-duplicates begin",
    )
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    arguments = parser.parse_args(words)
    try:
        model = arguments.model.read_bytes()
        about = json.loads(arguments.model.with_suffix(".json").read_text())
        metrics = json.loads(arguments.metrics.read_text()) if arguments.metrics else {}
        if not _SEMVER.fullmatch(arguments.semver):
            raise ConfigurationError(f"{arguments.semver!r} must be a semantic version, such as 0.2.0.")
        if not (arguments.repository / MODEL / str(arguments.version)).exists():
            check(model)
            about["near_duplicates"] = near_duplicates(model, arguments.pictures)
        folder = publish(model, card(model, arguments.semver, about, metrics), arguments.repository, arguments.version)
    except (VisualSearchError, OSError, json.JSONDecodeError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(folder)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
