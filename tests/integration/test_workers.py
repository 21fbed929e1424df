"""The gateway's processes behind one port: when one dies or stops, requests of the others are unaffected."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager

import httpx
import orjson
import psutil
import pytest
import redis

from tests.conftest import ROOT
from tests.eventually import eventually_sync
from tests.integration.test_rest import jpeg, search

pytestmark = pytest.mark.stack

ANSWERED = re.compile(r'^visualsearch_requests_total\{.*route="/search",status="200"\} (\d+)', re.MULTILINE)


def parent_of(running) -> psutil.Process:
    return psutil.Process(orjson.loads(running.command("status", "--json").stdout)["gateway"]["pid"])


def answered(stack) -> int:
    """Searches answered, as whichever process takes a new connection tells it."""
    return sum(map(int, ANSWERED.findall(httpx.get(f"{stack.url}/metrics").text)))


def wait_for(condition, seconds=60):
    eventually_sync(condition, seconds)


@contextmanager
def asked(stack):
    """Callers who ask all the time, each request on a connection of its own; yields what came of it, by kind."""
    outcomes, over = Counter(), threading.Event()

    def ask():
        while not over.is_set():
            try:
                with httpx.Client(base_url=stack.url, timeout=30) as client:
                    outcomes[search(client, jpeg(90), k=1).status_code] += 1
            except httpx.HTTPError as error:
                outcomes[type(error)] += 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_there_is_a_process_for_each_core_and_status_lists_them(running):
    told = orjson.loads(running.command("status", "--json").stdout)["gateway"]
    assert told["pids"] == [told["pid"], *(child.pid for child in psutil.Process(told["pid"]).children())]
    assert len(told["pids"]) >= 2


def test_a_killed_process_takes_only_its_own_requests_with_it_and_is_replaced(running, stack):
    parent = parent_of(running)
    before = {child.pid for child in parent.children()}
    victim = min(before)
    with asked(stack) as outcomes:
        wait_for(lambda: outcomes[200] > 20)
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: len(now := {child.pid for child in parent.children()} - {victim}) == len(before) and now)
        served = outcomes[200]
        wait_for(lambda: outcomes[200] > served + 20)
    assert set(outcomes) <= {200, httpx.RemoteProtocolError, httpx.ReadError}
    assert outcomes.total() - outcomes[200] <= 4, "no more than each caller's one request"


def test_a_stopping_process_first_answers_its_pending_requests(running, stack):
    parent = parent_of(running)
    first = {child.pid for child in parent.children()}
    with asked(stack) as outcomes:
        for pid in first:
            served = outcomes[200]
            wait_for(lambda served=served: outcomes[200] > served + 10)
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: len({child.pid for child in parent.children()} - first) == len(first))
    assert set(outcomes) == {200}


def test_metrics_of_every_process_are_the_sum_of_all_including_dead_ones(running, stack):
    before = answered(stack)
    for _ in range(10):
        assert httpx.post(f"{stack.url}/search", files={"image": jpeg(90)}).status_code == 200
    assert [answered(stack) - before for _ in range(10)] == [10] * 10
    os.kill(parent_of(running).children()[0].pid, signal.SIGKILL)
    wait_for(lambda: httpx.get(f"{stack.url}/ready").status_code == 200)
    assert answered(stack) - before == 10


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def another_gateway(running, tmp_path, log=None, **settings):
    """A gateway of two processes beside the stack's own, on its servers, that writes to ``log``; yields its address."""
    port, grpc_port = free_port(), free_port()
    settings |= {"gateway_port": port, "gateway_grpc_port": grpc_port, "gateway_workers": 2}
    env = running.env | {f"VISUALSEARCH_{name.upper()}": str(value) for name, value in settings.items()}
    env["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path / "metrics")
    process = subprocess.Popen([sys.executable, "-m", "gateway"], env=env, cwd=ROOT, stdout=log, stderr=log)
    try:
        wait_for(lambda: is_served(f"http://127.0.0.1:{port}"))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()  # a parent that is killed leaves its processes behind
        assert process.wait(30) == 0


def is_served(url) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


def statuses(url, count) -> Counter:
    """What calls on connections of their own come to, so that every process has its share of them."""
    return Counter(httpx.get(f"{url}/images/0").status_code for _ in range(count))


LIMITED = {"rate_limit": 0.01, "rate_limit_loopback": True}
"""One call, and then none for longer than a test takes."""


def test_a_rate_holds_over_all_processes(running, stack, tmp_path):
    with another_gateway(running, tmp_path, **LIMITED, **database(stack, 8)) as url:
        assert statuses(url, 20) == {404: 1, 429: 19}


def test_while_valkey_is_down_each_process_enforces_its_part_of_the_rate(running, tmp_path):
    away = {"valkey_url": f"redis://127.0.0.1:{free_port()}/0"}
    with another_gateway(running, tmp_path, **LIMITED, **away) as url:
        counted = statuses(url, 20)
        assert set(counted) == {404, 429}
        assert counted[404] <= 2


def database(stack, number):
    """Settings for a database of Valkey that is the test's own, emptied."""
    url = f"{stack.valkey_url.rsplit('/', 1)[0]}/{number}"
    with redis.Redis.from_url(url, password=stack.valkey_password.get_secret_value() or None) as client:
        client.flushdb()
    return {"valkey_url": url}
