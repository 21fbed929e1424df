"""While a server is down, callers get a 503 with the reason within two seconds, and an answer when it is back."""

import os
import signal
import time
from contextlib import contextmanager

import httpx
import orjson
import psutil
import pytest

from tests.eventually import eventually_sync
from tests.integration.test_rest import indexed, jpeg, search, upload, wait_until_settled

pytestmark = pytest.mark.stack

PATIENCE_S = 2.5
"""The documented limit is 2 s, plus decoding and other load of the machine."""


def pids(running, name: str) -> list[int]:
    process = orjson.loads(running.command("status", "--json").stdout)[name]
    return process.get("pids") or [process["pid"]]


@contextmanager
def paused(running, name: str):
    """A server that accepts connections and never answers: the worst way of being away."""
    leaders = [psutil.Process(pid) for pid in pids(running, name)]
    stopped = [process.pid for leader in leaders for process in (leader, *leader.children(recursive=True))]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                continue  # the supervisor has replaced a process that did not answer, as it should


def wait_until_ready(api, seconds=120):
    def ready():
        answer = api.get("/ready")
        assert answer.status_code == 200, answer.text
        return True

    eventually_sync(ready, seconds, every_s=0.5, errors=(AssertionError, httpx.HTTPError))


def assert_unavailable(answer, begin):
    assert time.monotonic() - begin < PATIENCE_S
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["detail"]


@pytest.mark.parametrize("name", ["triton", "milvus", "postgres"])
def test_a_search_names_the_server_that_is_down_and_recovers(running, api, name):
    indexed(api, jpeg(70))
    with paused(running, name):
        begin = time.monotonic()
        assert_unavailable(search(api, jpeg(70)), begin)
        begin = time.monotonic()
        ready = api.get("/ready")
        assert ready.status_code == 503
        assert name in ready.json()["detail"].lower()
        assert time.monotonic() - begin < PATIENCE_S
        assert api.get("/health").json() == {"ok": True}
    wait_until_ready(api)
    assert search(api, jpeg(70), k=1).status_code == 200


@pytest.mark.parametrize("name", ["postgres", "valkey", "s3"])
def test_an_upload_names_the_server_that_is_down_and_recovers(running, api, name):
    with paused(running, name):
        begin = time.monotonic()
        assert_unavailable(upload(api, jpeg(71)), begin)
    wait_until_ready(api)
    image_id = upload(api, jpeg(71)).json()["id"]
    assert wait_until_settled(api, image_id)["status"] == "indexed"


@pytest.mark.parametrize("name", ["triton", "milvus", "postgres", "valkey", "s3", "indexer", "gateway"])
def test_killed_servers_restart_and_accepted_uploads_are_indexed(running, api, name):
    accepted = [upload(api, jpeg(seed)).json()["id"] for seed in range(72, 76)]
    killed = [psutil.Process(pid) for pid in pids(running, name)]
    for process in killed:
        process.kill()
    # A killed process whose parent was killed too may stay a zombie.
    eventually_sync(
        lambda: all(not one.is_running() or one.status() == psutil.STATUS_ZOMBIE for one in killed),
        errors=psutil.NoSuchProcess,
    )
    wait_until_ready(api)
    for image_id in accepted:
        assert wait_until_settled(api, image_id, 90)["status"] == "indexed"
