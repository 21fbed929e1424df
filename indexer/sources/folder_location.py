"""Where a folder is: on which machine and disk, whatever path it is reached by."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote_to_bytes, urlencode, urlsplit

DISKS = Path("/dev/disk/by-uuid")
"""Where Linux names disks by an id that they carry. It tells memory cards apart that are mounted at the same path."""


def location_of(folder: Path) -> str:
    """Return the location of a folder: a file URL, the same for each path that leads there."""
    real = folder.resolve()
    disk = _disk(real)
    query = f"?{urlencode({'disk': disk})}" if disk else ""
    return f"file://{quote(socket.gethostname())}{quote(os.fsencode(real))}{query}"


def location_of_bucket(name: str) -> str:
    """Return the location of a bucket of the object store."""
    return f"s3://{name}"


def is_there(location: str) -> bool:
    """Return whether the folder or file of a location can be seen from here, and not on another machine or disk.

    Buckets are seen from everywhere.
    """
    parts = urlsplit(location)
    if parts.scheme == "s3":
        return True
    if parts.netloc != quote(socket.gethostname()):
        return False
    path = path_of(location)
    return path.exists() and location_of(path) == location


def path_of(location: str) -> Path:
    """Return the path of a location on its machine."""
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(location).path)))


def describe(location: str) -> str:
    """Return a location in words: its path, and the machine and the disk if they are not these."""
    parts = urlsplit(location)
    if parts.scheme == "s3":
        return location
    machine = "" if parts.netloc == quote(socket.gethostname()) else f" on {parts.netloc}"
    disk = "".join(f" of the disk {one}" for one in parse_qs(parts.query).get("disk", ()))
    return f"{path_of(location)}{disk}{machine}"


def _disk(folder: Path) -> str:
    """Return the id of the disk that a folder is on; empty if the system names none."""
    with suppress(OSError):
        device = folder.stat().st_dev
        for disk in sorted(DISKS.iterdir()):
            with suppress(OSError):
                if disk.stat().st_rdev == device:
                    return disk.name
    return ""
