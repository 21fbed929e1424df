"""`visualsearch images` against a gateway in memory."""

import asyncio
import json

import pytest
import uvicorn
from typer.testing import CliRunner

from cli.main import app
from tests.eventually import eventually
from tests.pictures import jpeg
from tests.unit.serving import Serving
from visualsearch.domain.errors import InvalidInput, NotFound
from visualsearch.domain.images import Status


@pytest.fixture
async def serving(monkeypatch):
    """A gateway on a real port, and where the command looks for it."""
    async with Serving() as serving:
        server = uvicorn.Server(uvicorn.Config(serving.app, "127.0.0.1", 0, log_config=None, lifespan="off"))
        task = asyncio.create_task(server.serve())
        await eventually(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        monkeypatch.setenv("VISUALSEARCH_URL", f"http://127.0.0.1:{port}")
        yield serving
        server.should_exit = True
        await task


@pytest.fixture
async def ids(serving):
    return [await serving.index(jpeg(n), source="web", name=f"{'old' if n < 3 else 'new'}/{n}.jpg") for n in range(5)]


async def run(*words, answer=None):
    return await asyncio.to_thread(CliRunner().invoke, app, ["images", *map(str, words)], input=answer)


async def told(*words):
    done = await run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def there(serving):
    return sorted(serving.image_repository.images)


async def test_a_dry_run_names_what_would_be_deleted(serving, ids):
    assert await told("delete", "--prefix", "old/", "--dry-run") == {
        **{"image_ids": ids[:3], "dry_run": True, "missing": []}
    }
    assert "3 images would be deleted." in (await run("delete", "--prefix", "old/", "--dry-run")).stdout
    assert there(serving) == ids


async def test_a_deletion_by_prefix_asks_first(serving, ids):
    refused = await run("delete", "--prefix", "old/", answer="n\n")
    assert (refused.exit_code, there(serving)) == (1, ids)
    done = await run("delete", "--prefix", "old/", answer="y\n")
    assert "3 images are deleted." in done.stdout
    assert there(serving) == ids[3:]


async def test_without_an_answer_nothing_is_deleted(serving, ids):
    assert (await run("delete", "--source", "web")).exit_code == 1
    assert there(serving) == ids


async def test_images_named_by_id_are_deleted_without_a_question(serving, ids):
    assert "Image 1 is deleted." in (await run("delete", 1)).stdout
    assert "2 images are deleted." in (await run("delete", 2, 3)).stdout
    assert there(serving) == ids[3:]


async def test_an_id_that_is_not_there_is_named_after_the_others_are_deleted(serving, ids):
    done = await run("delete", 1, 77)
    assert isinstance(done.exception, NotFound)
    assert "77" in str(done.exception)
    assert there(serving) == ids[1:]


async def test_more_images_than_one_request_takes_are_deleted(serving, ids, monkeypatch):
    monkeypatch.setattr("cli.images.DELETED_AT_ONCE", 2)
    assert (await told("delete", "--source", "web", "--yes"))["image_ids"] == ids
    assert there(serving) == []
    assert len(serving.audit_log.kept) == 3


async def test_a_change_is_shown_with_its_status(serving, ids, monkeypatch):
    monkeypatch.setattr("cli.images.WAIT_S", 0)
    (changed,) = await told("set", ids[0], "--source", "archive", "--visibility", "private")
    assert (changed["id"], changed["status"]) == (ids[0], "pending")
    row = serving.image_repository.images[ids[0]]
    assert (row.source, row.visibility, row.status) == ("archive", "private", Status.PENDING)
    assert (await told("get", ids[1]))["status"] == "indexed"


@pytest.mark.parametrize("words", [("delete",), ("delete", "--dry-run"), ("set", "1")])
async def test_a_command_that_does_not_say_what_is_refused(words):
    assert isinstance((await run(*words)).exception, InvalidInput)


async def test_a_list_that_is_cut_says_so(serving, ids):
    cut = await run("list", "--limit", 2)
    assert "--limit 0 lists all" in cut.stderr
    assert "--limit 0" not in (await run("list")).stderr
