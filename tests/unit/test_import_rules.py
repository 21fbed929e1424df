"""Who may import whom: the rules of ARCHITECTURE.md, held by reading the source."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"analysis", "visualsearch", "gateway", "indexer", "training", "export", "compose"}
ADAPTERS = {
    "encoder": {"tritonclient", "grpc"},
    "encoder_onnx": {"onnxruntime"},
    "vectors": {"pymilvus", "grpc", "yaml"},
    "recall_log": {"psycopg"},
    "catalog": {"psycopg", "psycopg_pool"},
    "dump": {"psycopg"},
    "events": {"redis"},
    "blobs": {"obstore", "httpx"},
    "spool": {"redis"},
    "journal": {"psycopg"},
    "trials": {"psycopg"},
    "changes": {"grpc"},
    "models": {"tritonclient"},
    "counts": {"redis"},
    "release_log": {"psycopg"},
    "rates": {"redis"},
}
NOUNS = {"domain", "errors", "experiments", "interactions", "recall", "standing"}
PURE = {
    "domain": set(),
    "interactions": set(),
    "experiments": set(),
    "errors": set(),
    "standing": set(),
    "recall": set(),
    "images": {"PIL", "imagehash"},
}
TORCH = {"torch", "torchvision", "open_clip"}


def imports(file: Path) -> set[str]:
    """Dotted names that a file imports, wherever in it."""
    return names_in(ast.parse(file.read_text()))


def names_in(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names if node.module in OURS}
    return names


def run_time_imports(file: Path) -> set[str]:
    """The same without what is imported for the type checker alone."""
    tree = ast.parse(file.read_text())
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    return names_in(tree)


def foreign(names: set[str]) -> set[str]:
    tops = {name.split(".")[0] for name in names}
    return tops - OURS - set(sys.stdlib_module_names) - {"numpy", ""}


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in OURS and "." in name}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("module", PURE)
def test_the_core_stays_pure(module):
    names = imports(ROOT / "visualsearch" / f"{module}.py")
    assert foreign(names) <= PURE[module]
    assert {name.split(".")[1] for name in ours(names)} <= NOUNS


def test_a_port_names_nothing_but_nouns():
    for file in sources("visualsearch/ports"):
        names = imports(file)
        assert not foreign(names), file
        assert {name.split(".")[1] for name in ours(names)} <= NOUNS | {"ports"}, file


@pytest.mark.parametrize("module", ADAPTERS)
def test_an_adapter_knows_the_domain_and_one_vendor(module):
    names = imports(ROOT / "visualsearch" / f"{module}.py")
    assert foreign(names) <= ADAPTERS[module]
    # `filer` holds the messages of one vendor's protocol, `milvus_rows` says how another's are written and read;
    # `verdicts` is a part of the catalog, `valkey` what its adapters share.
    assert {name.split(".")[1] for name in ours(names)} <= NOUNS | {"filer", "milvus_rows", "valkey", "verdicts"}


@pytest.mark.parametrize(
    "module",
    [
        "gateway/search.py",
        "gateway/ranking.py",
        "gateway/recorder.py",
        "gateway/experiments.py",
        "indexer/ingest.py",
        "indexer/writer.py",
    ],
)
def test_the_logic_knows_no_framework_and_no_server(module):
    names = imports(ROOT / module)
    assert not foreign(names) & {"fastapi", "starlette", "redis", "pymilvus", "psycopg", "tritonclient", "obstore"}
    assert not {name for name in ours(names) if name.split(".")[1] in ADAPTERS}


@pytest.mark.parametrize(
    ("folder", "never"),
    [("gateway", {"indexer", "training", "export"}), ("indexer", {"gateway", "training", "export"})],
)
def test_gateway_and_indexer_keep_apart(folder, never):
    for file in sources(folder):
        assert not {name.split(".")[0] for name in imports(file)} & never, file


@pytest.mark.parametrize("folder", ["visualsearch", "gateway", "indexer", "compose"])
def test_nothing_that_serves_knows_torch_or_the_statistics(folder):
    for file in sources(folder):
        assert not {name for name in imports(file) if name.split(".")[0] == "analysis"}, file
        assert not foreign(imports(file)) & TORCH, file


def test_adapters_are_built_in_one_place_that_only_the_composition_roots_use():
    roots = {"gateway/main.py", "indexer/main.py", "visualsearch/cli.py", "visualsearch/release_cli.py"}
    for folder in ("analysis", "visualsearch", "gateway", "indexer", "compose", "training", "export"):
        for file in sources(folder):
            name = str(file.relative_to(ROOT))
            used = {
                module.split(".")[1] for module in ours(run_time_imports(file)) if module.startswith("visualsearch.")
            }
            assert not used & set(ADAPTERS) or name == "visualsearch/wiring.py", file
            assert "wiring" not in used or name in roots, file


def test_the_milvus_folder_holds_no_python():
    assert not list((ROOT / "milvus").rglob("*.py"))
