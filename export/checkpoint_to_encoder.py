"""Read the parts of an encoder from a training checkpoint."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders import backbones, checkpoint
from encoders.projection import Projection
from visualsearch.domain.errors import ConfigurationError
from visualsearch.domain.images import EMBEDDING_DIM

if TYPE_CHECKING:
    from encoders.backbones import Backbone

ROOT = Path(__file__).parents[1]


def read(file: Path, pretrained: str = "") -> tuple[Backbone, Projection, dict[str, Any]]:
    """Return the backbone, the projection and the lineage of a checkpoint that ``training/train.py`` wrote.

    ``pretrained`` names the backbone's weights if the checkpoint lacks them and they have moved since training. Raises
    ``ConfigurationError`` if the file is no checkpoint, has another dimension than 256, or does not fit its backbone.
    """
    stored = checkpoint.load(file)
    if stored["dim"] != EMBEDDING_DIM:
        raise ConfigurationError(f"{file} gives {stored['dim']} dimensions; an encoder must give {EMBEDDING_DIM}.")
    arguments: dict[str, Any] = stored["arguments"]
    state = stored["backbone_state"]
    named = pretrained or ("" if state else str(arguments.get("pretrained") or ""))
    backbone = backbones.load(stored["backbone"], named)
    if state:
        try:
            backbone.network.load_state_dict(state)
        except RuntimeError:
            raise ConfigurationError(
                f"{file} holds the weights of another architecture than {backbone.name}."
            ) from None
    matrix, mean = (stored["projection"][name].numpy() for name in ("matrix", "mean"))
    if matrix.shape != (EMBEDDING_DIM, backbone.features) or mean.shape != (backbone.features,):
        raise ConfigurationError(
            f"The projection in {file} is {matrix.shape} with a mean of {mean.shape}, but {backbone.name} gives "
            f"{backbone.features} features."
        )
    return backbone, Projection(matrix, mean, "trained, linear"), _lineage(file, stored)


def _lineage(file: Path, stored: dict[str, Any]) -> dict[str, Any]:
    """Describe the training data and settings of an encoder, in the format of the model card."""
    return {
        "checkpoint_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "arguments": stored["arguments"],
        "data": stored["data"],
        "backbone_tuned": bool(stored["backbone_state"]),
    }


def commit() -> str:
    """Return the commit of this checkout, with ``+changes`` if files differ from it; empty outside a checkout."""
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout.strip()
