"""docs/configuration.md out of the settings' own descriptions: `python -m cli.settings_reference` writes it anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, get_origin

from pydantic import SecretStr

from visualsearch.settings import ROOT, Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

FILE = ROOT / "docs" / "configuration.md"
HEAD = """# Configuration

Every setting is an environment variable. Values come, first found first, from the environment, from `stack.env`
(addresses of the running local servers) and `secrets.env` (their generated credentials) in the state folder, from the
files of `VISUALSEARCH_SECRETS_DIR` (each named as its variable, in small letters), and from the defaults below. A value
that does not fit ends the process at its start, with a sentence that names the setting.

This page is made by `python -m cli.settings_reference` out of [visualsearch/settings.py](../visualsearch/settings.py).

| variable | default | what it is |
|---|---|---|
"""
COMPUTED = {"home": "`.visualsearch` here"}
"""Defaults that depend on where a process runs."""


def reference() -> str:
    """Return the page: a line for each setting, in the order of the settings."""
    return HEAD + "".join(_line(name, field) for name, field in Settings.model_fields.items())


def _line(name: str, field: FieldInfo) -> str:
    text = f"{field.description} {_choices(field)}".strip().replace("|", "\\|")
    return f"| `VISUALSEARCH_{name.upper()}` | {COMPUTED.get(name) or _default(field.default)} | {text} |\n"


def _default(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(secret)"
    if isinstance(value, Path):
        return f"`{value.relative_to(ROOT) if value.is_relative_to(ROOT) else value}`"
    if value is None or value == "":
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _choices(field: FieldInfo) -> str:
    if get_origin(field.annotation) is not Literal:
        return ""
    return f"One of {', '.join(f'`{choice}`' for choice in get_args(field.annotation))}."


def main() -> None:
    """Write the page."""
    FILE.write_text(reference())


if __name__ == "__main__":
    main()
