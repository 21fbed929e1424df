"""A wheel installs only the library, under one name."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    folder, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in ROOT.glob("*/__init__.py"):
        shutil.copytree(package.parent, source / package.parent.name)
    words = ["wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_a_wheel_puts_one_name_into_site_packages(names):
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"visualsearch"}


def test_a_wheel_holds_every_module_of_the_library(names):
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "visualsearch").rglob("*.py")}
    assert modules <= set(names)


def test_a_wheel_has_no_command_since_it_lacks_what_the_command_runs(names):
    assert not [name for name in names if name.endswith("entry_points.txt")]
