"""What every command prints to: the console, and JSON for programs."""

from __future__ import annotations

import os
import sys

import orjson
from rich.console import Console

PIPE_WIDTH = 200
"""Columns of output that goes to a pipe or a file: tables broken at 80 columns are hard to search."""

out = Console() if sys.stdout.isatty() else Console(width=int(os.environ.get("COLUMNS") or PIPE_WIDTH))
err = Console(stderr=True)


def print_json(value: object) -> None:
    """Print a value as indented JSON, for programs."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def printable(name: str) -> str:
    """Return a text from outside as it can be shown: escapes in place of what controls a terminal or is no text."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in name)


def _escaped(letter: str) -> str:
    undecoded = 0xDC80 <= ord(letter) <= 0xDCFF  # a byte of a file's name that is no UTF-8
    return f"\\x{ord(letter) - 0xDC00:02x}" if undecoded else letter.encode("unicode_escape").decode()
