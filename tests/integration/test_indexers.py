"""Several indexers share the work, and each stops without losing events."""

import os
import signal
import subprocess
import sys

import pytest
import redis

from tests.conftest import ROOT
from tests.eventually import eventually_sync
from tests.integration.test_rest import upload, wait_until_settled
from tests.pictures import jpeg
from visualsearch.adapters.valkey.event_stream import GROUP, STREAM

pytestmark = pytest.mark.stack


@pytest.fixture
def second(running):
    """One more indexer on the same stack."""
    process = subprocess.Popen([sys.executable, "-m", "indexer"], env=running.env, cwd=ROOT)
    yield process
    process.kill()
    process.wait()


def consumers(stack):
    password = stack.valkey_password.get_secret_value()
    with redis.Redis.from_url(stack.valkey_url, password=password, decode_responses=True) as client:
        return [one["name"] for one in client.xinfo_consumers(STREAM, GROUP)]


def test_two_indexers_share_the_work_and_a_stopping_one_hands_over(stack, api, second):
    eventually_sync(lambda: any(name.endswith(f"-{second.pid}") for name in consumers(stack)))
    accepted = [upload(api, jpeg(seed)).json()["id"] for seed in range(400, 440)]
    os.kill(second.pid, signal.SIGTERM)
    assert second.wait(timeout=15) == 0
    assert {wait_until_settled(api, image_id, 60)["status"] for image_id in accepted} == {"indexed"}
