"""`visualsearch train`, `evaluate` and `export`: commands whose words another module reads, --help included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from visualsearch.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def train(words: typer.Context) -> None:
    """Train an encoder on your pictures (--help tells how). Needs the training environment."""
    try:
        from training.train import main
    except ModuleNotFoundError as error:
        raise _missing(words, error) from None
    _run(main, words)


def evaluate(words: typer.Context) -> None:
    """Judge an encoder, a ranking or the running gateway: nDCG, mAP, recall (--help tells how)."""
    try:
        from evaluation.offline.evaluate import main
    except ModuleNotFoundError as error:
        raise _missing(words, error) from None
    _run(main, words)


def export(words: typer.Context) -> None:
    """Write an encoder as ONNX (--help tells how). Needs the training environment."""
    try:
        from export.to_onnx import main
    except ModuleNotFoundError as error:
        raise _missing(words, error) from None
    _run(main, words)


def _run(main: Callable[[list[str]], int], words: typer.Context) -> None:
    try:
        status = main(words.args)
    except ModuleNotFoundError as error:
        raise _missing(words, error) from None
    raise typer.Exit(status)


def _missing(words: typer.Context, error: ModuleNotFoundError) -> ConfigurationError:
    return ConfigurationError(
        f"`visualsearch {words.info_name}` needs {error.name}, which is in the training environment: "
        f"`make setup-train` makes it; then run `.venv-train/bin/visualsearch {words.info_name}`."
    )
