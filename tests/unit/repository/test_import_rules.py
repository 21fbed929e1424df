"""Layout rules that import-linter's contracts in pyproject.toml cannot express."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ["cli", "compose", "encoders", "evaluation", "export", "gateway", "indexer", "training", "visualsearch"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_held_by_the_import_contracts(package):
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert package in contracts["root_packages"]
    (layers,) = [one["layers"] for one in contracts["contracts"] if one["name"] == "Packages import downwards only"]
    assert any(package in layer.split(" | ") for layer in layers)


def test_every_folder_of_python_is_a_package_that_is_held():
    folders = {file.parent.name for file in ROOT.glob("*/__init__.py")}
    assert folders - {"tests", "benchmarks"} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_what_it_is_for(package):
    files = list((ROOT / package).rglob("__init__.py"))
    assert files
    for file in files:
        assert file.read_text().startswith('"""'), file


def test_the_milvus_folder_holds_no_python():
    assert not list((ROOT / "milvus").rglob("*.py"))
