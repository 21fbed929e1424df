"""A backup restored into an empty stack gives the same search results."""

import asyncio
import json

import httpx
import psycopg
import pytest

from indexer.maintenance.backup_archive import Places
from indexer.maintenance.restore import Restore
from tests.conftest import ROOT, Stack
from tests.integration.test_rest import indexed, search
from tests.pictures import jpeg
from visualsearch.composition import dump, open_stores

pytestmark = pytest.mark.stack

QUERIES = sorted((ROOT / "demo" / "queries").iterdir())


def answers(api):
    """What every demo query finds: ids, uris, folded ids, and scores to the sixth place."""
    found = [search(api, query.read_bytes(), k=30).json()["results"] for query in QUERIES]
    return [
        [(hit["id"], hit["uri"], hit["near_duplicates"], round(hit["score"], 5)) for hit in results]
        for results in found
    ]


def rows(settings, *tables):
    password = settings.postgres_password.get_secret_value()
    with psycopg.connect(settings.postgres_dsn, password=password) as connection:
        return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}


@pytest.fixture(scope="module")
def empty(running, tmp_path_factory):
    """Another stack, with nothing in it."""
    stack = Stack(tmp_path_factory.mktemp("restored") / "state")
    up = stack.command("up", "--detach", "--accept-open-servers")
    assert up.returncode == 0, up.stdout + up.stderr
    yield stack
    stack.kill()
    stack.command("down")  # for what a kill leaves in shared memory


async def cut_off(settings, folder):
    """Begin a restore that ends in the middle of the objects."""

    def stop(what, number):
        if (what, number) == ("objects", 10):
            raise KeyboardInterrupt

    models = settings.model_repository / settings.model_name
    async with open_stores(settings, 30) as stores:
        restore = Restore(
            Places(
                dump(settings),
                stores.image_repository,
                stores.release_repository,
                stores.vectors,
                stores.object_store,
                models,
                stop,
            )
        )
        with pytest.raises(KeyboardInterrupt):
            await restore.run(folder)


def test_an_interrupted_restore_resumes_and_gives_the_same_answers(running, demo_stack, api, empty, tmp_path):
    deleted, kept = indexed(api, jpeg(900)), indexed(api, jpeg(901))
    assert api.delete(f"/images/{deleted}").status_code == 204
    folder = tmp_path / "backup"
    written = running.command("backup", str(folder))
    assert written.returncode == 0, written.stdout + written.stderr
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["rows"]["images"] >= 985
    assert not {"api_keys", "api_key_changes"} & manifest["tables"].keys()
    asyncio.run(cut_off(empty.settings(), folder))
    done = empty.command("restore", str(folder), timeout_s=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "They agree." in done.stdout
    there = empty.settings()
    with httpx.Client(base_url=there.url, timeout=30) as restored:
        assert answers(restored) == answers(api)
        assert restored.get(f"/images/{kept}/content").content == jpeg(901)
        assert restored.get(f"/images/{deleted}").status_code == 404
        stats = restored.get("/stats").json()
        assert stats["live_release"] == api.get("/stats").json()["live_release"]
        # The sequence goes on where it was: a new image never gets an old one's id.
        assert indexed(restored, jpeg(902)) > kept
    assert set(rows(demo_stack, "image_hash")["image_hash"]) <= set(rows(there, "image_hash")["image_hash"])


def test_a_restore_into_a_stack_that_holds_images_is_refused(running, demo_stack, tmp_path):
    folder = tmp_path / "listed"
    assert running.command("backup", "--no-objects", str(folder)).returncode == 0
    assert not list(folder.glob("objects/*.tar"))
    done = running.command("restore", str(folder))
    assert done.returncode == 1
    assert "images already" in done.stderr
    (folder / "postgres" / "images.copy.gz").write_bytes(b"cut")
    done = running.command("restore", str(folder))
    assert "damaged" in done.stderr
