"""The `visualsearch` command against the running stack."""

from pathlib import Path

import orjson
import pytest
from PIL import Image

from tests.pictures import encoded, jpeg, noise

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Five pictures, a picture in a folder below, and three files that are none."""
    folder = tmp_path_factory.mktemp("pictures") / "holiday"
    (folder / "more").mkdir(parents=True)
    for seed in range(100, 105):
        (folder / f"{seed}.jpg").write_bytes(jpeg(seed))
    (folder / "more" / "ünusual näme & co.png").write_bytes(encoded(noise(105), "PNG"))
    (folder / "notes.txt").write_text("not a picture")
    (folder / "broken.jpg").write_bytes(jpeg(106)[:2000])
    (folder / "tiny.png").write_bytes(encoded(Image.new("RGB", (4, 4)), "PNG"))
    return folder


def test_a_folder_is_indexed_and_each_reject_has_its_reason(running, folder):
    done = running.command("index", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 indexed" in done.stdout
    assert "2 rejected" in done.stdout
    assert "1 file is no picture" in done.stdout
    for name in ("notes.txt", "broken.jpg", "tiny.png"):
        assert name in done.stdout


def test_indexing_again_skips_what_is_unchanged(running, folder):
    done = running.command("index", str(folder))
    assert "0 indexed, 6 unchanged" in done.stdout


def test_a_search_prints_a_table_and_writes_a_contact_sheet(running, folder, tmp_path):
    sheet = tmp_path / "out" / "sheet.png"
    words = ("search", str(folder / "101.jpg"), "--bbox", "10,10,300,230", "-k", "7", "--sheet", str(sheet))
    done = running.command(*words)
    assert done.returncode == 0, done.stderr
    assert "score" in done.stdout
    with Image.open(sheet) as drawn:
        assert min(drawn.size) > 300


def test_a_search_can_be_read_by_a_program(running, folder):
    answer = orjson.loads(running.command("search", str(folder / "102.jpg"), "-k", "1", "--json").stdout)
    assert "102.jpg" in answer["results"][0]["uri"]


def test_images_can_be_looked_up_and_deleted(running, folder):
    answer = orjson.loads(running.command("search", str(folder / "103.jpg"), "-k", "1", "--json").stdout)
    image_id = str(answer["results"][0]["id"])
    assert orjson.loads(running.command("images", "get", image_id).stdout)["status"] == "indexed"
    assert running.command("images", "delete", image_id).returncode == 0
    gone = running.command("images", "get", image_id)
    assert gone.returncode == 1
    assert gone.stderr.startswith("error:")


@pytest.mark.parametrize(
    "words",
    [("search", "pyproject.toml"), ("search", "demo/queries/", "-k", "1"), ("images", "get", "999999999")],
)
def test_a_wrong_call_gets_a_sentence_and_no_traceback(running, words):
    done = running.command(*words)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stderr) > 20


def test_status_names_every_process_with_pid_and_readiness(running):
    status = orjson.loads(running.command("status", "--json").stdout)
    assert {"gateway", "indexer", "triton", "milvus", "postgres", "valkey", "s3"} <= set(status)
    for name, process in status.items():
        assert process["ready"] is True, name
        assert process.get("pid") or process["pids"]
    assert "password" not in orjson.dumps(status).decode().lower()


def test_the_credentials_are_for_the_owner_alone(running):
    secrets = running.home / "secrets.env"
    assert secrets.stat().st_mode & 0o077 == 0
    names = {line.split("=")[0] for line in secrets.read_text().splitlines() if "=" in line}
    assert {"VISUALSEARCH_S3_ACCESS_KEY", "VISUALSEARCH_S3_SECRET_KEY", "VISUALSEARCH_VALKEY_PASSWORD"} <= names
    assert {"VISUALSEARCH_POSTGRES_PASSWORD", "VISUALSEARCH_TRITON_ADMIN_KEY"} <= names


def test_the_first_release_is_live(running):
    listed = running.command("release", "list").stdout
    assert "live" in listed
