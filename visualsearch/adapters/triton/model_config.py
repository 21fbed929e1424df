"""Triton's model configuration file, config.pbtxt."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from visualsearch.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def read_config(file: Path) -> ModelConfig:
    """Parse a config.pbtxt. Raises ``ConfigurationError`` if it is missing or not a model configuration."""
    if not file.is_file():
        raise ConfigurationError(f"{file} is missing; take model_repository/ of a release of this project.")
    try:
        return text_format.Parse(file.read_text(), ModelConfig())
    except text_format.ParseError as error:
        raise ConfigurationError(f"{file} is not a model configuration: {error}") from None


def write_config(file: Path, config: ModelConfig) -> None:
    """Replace a config.pbtxt in one step. The comments at its top are kept, because protobuf drops comments."""
    comments = takewhile(lambda line: line.startswith("#"), file.read_text().splitlines(keepends=True))
    text = text_format.MessageToString(config, use_short_repeated_primitives=True)
    beside = file.with_name(f".{file.name}.writing")
    beside.write_text(f"{''.join(comments)}\n{text}")
    beside.replace(file)
