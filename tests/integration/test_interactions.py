"""Every accepted impression and click is written exactly once, although Postgres is killed meanwhile."""

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
import psycopg
import pytest

from tests.eventually import eventually_sync
from tests.integration.test_failures import pids, wait_until_ready
from tests.integration.test_rest import indexed, jpeg, search

pytestmark = pytest.mark.stack

WRITTEN = """
SELECT type, query_image_id, displayed_image_id, rank, count(*) FROM interactions
WHERE query_image_id = ANY(%s) GROUP BY 1, 2, 3, 4
"""
PATIENCE_S = 60


def traffic(url, stop):
    """Search and click until told to stop; return what was accepted, as rows of WRITTEN."""
    accepted = Counter()
    with httpx.Client(base_url=url, timeout=10) as client:
        while not stop.is_set():
            try:
                answer = search(client, jpeg(1080), k=5)
                if answer.status_code != 200:
                    time.sleep(0.1)
                    continue
                query, hits = answer.json()["query_image_id"], answer.json()["results"]
                accepted.update(("impression", query, hit["id"], hit["rank"]) for hit in hits)
                for _ in range(20):  # also while Postgres is away
                    click = {"query_image_id": query, "displayed_image_id": hits[0]["id"], "rank": 1, "user_id": 9}
                    if client.post("/click", json=click).status_code == 204:
                        accepted["click", query, hits[0]["id"], 1] += 1
            except httpx.HTTPError:
                continue
    return accepted


def written(stack, queries, wanted, seconds):
    """Wait until exactly the wanted rows are in Postgres."""
    password = stack.postgres_password.get_secret_value()
    with psycopg.connect(stack.postgres_dsn, password=password, autocommit=True) as connection:

        def all_there():
            found = {tuple(row[:4]): row[4] for row in connection.execute(WRITTEN, [queries])}
            assert found == wanted
            return True

        return eventually_sync(all_there, seconds, errors=AssertionError)


def test_all_that_was_accepted_while_postgres_was_killed_is_written_once(running, stack, api):
    indexed(api, jpeg(1080))
    stop = Event()
    with ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(traffic, stack.url, stop) for _ in range(2)]
        time.sleep(2)
        for pid in pids(running, "postgres"):
            os.kill(pid, signal.SIGKILL)
        time.sleep(5)
        wait_until_ready(api)
        time.sleep(2)
        stop.set()
        wanted = sum((load.result() for load in loads), Counter())
    queries = sorted({query for _, query, _, _ in wanted})
    assert len(queries) > 10
    assert written(stack, queries, wanted, PATIENCE_S)


def test_impressions_are_in_postgres_within_two_seconds(stack, api):
    indexed(api, jpeg(1080))
    answer = search(api, jpeg(1080), k=3).json()
    query = answer["query_image_id"]
    wanted = {("impression", query, hit["id"], hit["rank"]): 1 for hit in answer["results"]}
    assert wanted
    assert written(stack, [query], wanted, 5)
