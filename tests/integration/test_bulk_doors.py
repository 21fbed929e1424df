"""Archives, tables and an exported index, by the command on the real servers."""

import csv
import json
import tarfile
import uuid
import zipfile

import pyarrow.parquet
import pytest
from pymilvus import MilvusClient

from tests.eventually import eventually_sync
from tests.integration.test_rest import search
from tests.pictures import jpeg

pytestmark = pytest.mark.stack

SEED = uuid.uuid4().int % 10**9
NAME = f"doors{SEED}"
"""Pictures and names are new each time, so that the tests can be repeated on a stack that is kept."""


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """Two shards, a zip file, and a table of two files: five pictures and what is none."""
    folder = tmp_path_factory.mktemp("doors")
    (folder / "raw.jpg").write_bytes(jpeg(SEED + 4))
    for number in range(2):
        (folder / "x.jpg").write_bytes(jpeg(SEED + number))
        (folder / "x.cls").write_text("7")
        with tarfile.open(folder / f"{NAME}-{number:03}.tar", "w") as shard:
            shard.add(folder / "x.jpg", "0001.jpg")
            shard.add(folder / "x.cls", "0001.cls")
    (folder / "x.jpg").unlink()
    with zipfile.ZipFile(folder / f"{NAME}.zip", "w") as file:
        file.writestr("a b.jpg", jpeg(SEED + 2))
        file.writestr("../out.jpg", jpeg(SEED + 3))
    with (folder / f"{NAME}.csv").open("w", newline="") as table:
        rows = [["path", "id", "source"], ["raw.jpg", "seven", "shop"], ["none.jpg", "eight", "shop"]]
        csv.writer(table).writerows(rows)
    return folder


def command(running, *words):
    done = running.command(*map(str, words))
    assert "Traceback" not in done.stderr
    return done


def listed(api, prefix):
    return {one["uri"].split("/", 3)[3]: one for one in api.get("/images", params={"prefix": prefix}).json()["images"]}


def test_archives_and_a_table_are_indexed_and_found(running, api, doors):
    shards = command(running, "index", doors / f"{NAME}-{{000..001}}.tar")
    packed = command(running, "index", doors / f"{NAME}.zip")
    table = command(running, "index", doors / f"{NAME}.csv")
    assert shards.returncode == 0, shards.stdout + shards.stderr
    assert "leads out of the archive" in " ".join(packed.stdout.split())
    assert "No such file" in " ".join(table.stdout.split())
    assert set(listed(api, NAME)) == {
        f"{NAME}-000.tar/0001.jpg",
        f"{NAME}-001.tar/0001.jpg",
        f"{NAME}.zip/a%20b.jpg",
        f"{NAME}.csv/seven.jpg",
    }
    for seed, uri in ((0, "-000.tar/0001.jpg"), (2, ".zip/a%20b.jpg"), (4, ".csv/seven.jpg")):
        found = search(api, jpeg(SEED + seed), k=1, near_duplicates="keep").json()["results"]
        assert found[0]["uri"].endswith(NAME + uri)
    assert "1 unchanged" in command(running, "index", doors / f"{NAME}.zip").stdout


@pytest.fixture(scope="module")
def exported(running, api, doors):
    """The file of the whole index, in which the pictures of the zip file are."""
    command(running, "index", doors / f"{NAME}.zip")
    eventually_sync(lambda: api.get("/stats").json()["stream"]["pending"] == 0)
    done = command(running, "export-index", doors / "index.parquet")
    assert done.returncode == 0, done.stdout + done.stderr
    return doors / "index.parquet"


def test_an_exported_index_comes_back_without_encoding(running, stack, api, exported):
    table = pyarrow.parquet.read_table(exported)
    assert table.num_rows == api.get("/stats").json()["images"]["indexed"]
    (lost,) = [one["id"] for one in listed(api, f"{NAME}.zip").values()]
    client = MilvusClient(uri=stack.milvus_uri, user="root", password=stack.milvus_password.get_secret_value())
    client.delete(api.get("/stats").json()["live_release"]["collection"], ids=[lost])
    client.close()
    imported = command(running, "import-index", exported)
    assert imported.returncode == 0, imported.stdout + imported.stderr
    assert f"1 imported, {table.num_rows - 1:,} unchanged, 0 refused" in imported.stdout
    found = search(api, jpeg(SEED + 2), k=1, near_duplicates="keep", consistency="strong").json()["results"]
    assert (found[0]["id"], found[0]["score"] > 0.99) == (lost, True)


def test_an_index_of_another_encoder_is_refused(running, exported, tmp_path):
    table = pyarrow.parquet.read_table(exported)
    described = json.loads(table.schema.metadata[b"visualsearch.index"])
    changed = table.replace_schema_metadata({b"visualsearch.index": json.dumps({**described, "fingerprint": "0" * 64})})
    pyarrow.parquet.write_table(changed, tmp_path / "other.parquet")
    refused = command(running, "import-index", tmp_path / "other.parquet")
    assert refused.returncode == 1
    assert "cannot be compared" in " ".join(refused.stderr.split())
