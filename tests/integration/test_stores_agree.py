"""Differences between stores are detected and repaired; a second collection is built beside the first."""

import threading
import time
import uuid

import obstore
import psycopg
import pytest
from pymilvus import MilvusClient

from tests.eventually import eventually_sync
from tests.integration.test_rest import indexed, search
from tests.integration.test_store_events import bucket  # noqa: F401 - a fixture
from tests.pictures import jpeg

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def milvus(stack):
    client = MilvusClient(uri=stack.milvus_uri, user="root", password=stack.milvus_password.get_secret_value())
    yield client
    client.close()


@pytest.fixture
def at_rest(api):
    def rests():
        stats = api.get("/stats").json()
        return stats["images"]["pending"] == stats["stream"]["pending"] == stats["stream"]["lag"] == 0

    eventually_sync(rests)


def execute(stack, statement, *values):
    password = stack.postgres_password.get_secret_value()
    with psycopg.connect(stack.postgres_dsn, password=password, autocommit=True) as connection:
        connection.execute(statement, values)


def test_consistent_stores_are_reported_as_such(running, api, at_rest):
    indexed(api, jpeg(500))
    done = running.command("reconcile")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "They agree." in done.stdout


def test_differences_are_named_shown_in_stats_and_repaired(running, stack, api, bucket, milvus, at_rest):  # noqa: F811
    live = api.get("/stats").json()["live_release"]["collection"]
    lost, orphan = indexed(api, jpeg(501)), indexed(api, jpeg(502))
    milvus.delete(live, ids=[lost])
    execute(stack, "DELETE FROM images WHERE id = %s", orphan)
    done = running.command("reconcile")
    assert done.returncode == 1
    text = " ".join(done.stdout.split())
    assert "indexed row without a vector" in text
    assert "vector without an indexed row" in text
    assert "object without a row" in text
    kinds = {one["kind"] for one in api.get("/stats").json()["differences"]}
    assert {"indexed row without a vector", "vector without an indexed row"} <= kinds
    assert "visualsearch_differences" in api.get("/metrics").text
    assert running.command("reconcile", "--repair").returncode == 1
    found = search(api, jpeg(501), near_duplicates="keep").json()["results"]
    assert lost in [hit["id"] for hit in found if hit["score"] > 0.99]
    eventually_sync(lambda: search(api, jpeg(502), k=1, near_duplicates="keep").json()["results"][0]["score"] > 0.99)
    eventually_sync(lambda: api.get("/stats").json()["stream"]["pending"] == 0)
    again = running.command("reconcile", "--repair")
    assert again.returncode == 0, again.stdout + again.stderr
    assert api.get("/stats").json()["differences"] == []


def test_a_collection_is_built_beside_the_live_one_while_indexing_goes_on(running, stack, api, bucket, milvus):  # noqa: F811
    changed, deleted = indexed(api, jpeg(510)), indexed(api, jpeg(511))
    obstore.put(bucket, "built/a.jpg", jpeg(512))
    stop, added, failed = threading.Event(), [], []
    name = f"tests_{uuid.uuid4().hex[:8]}"
    words = ("release", "build", "--profile", "hnsw", "--name", name)

    def go_on():
        seed = 520
        while not stop.is_set():
            added.append(indexed(api, jpeg(seed)))
            answer = search(api, jpeg(510), k=1)
            failed.extend([] if answer.status_code == 200 else [answer.text])
            seed += 1
            time.sleep(0.1)

    going = threading.Thread(target=go_on)
    going.start()
    try:
        eventually_sync(lambda: added)
        api.delete(f"/images/{deleted}")
        obstore.put(bucket, "built/a.jpg", jpeg(513))
        built = running.command(*words)
        eventually_sync(lambda: len(added) > 3)
    finally:
        stop.set()
        going.join()
    try:
        assert built.returncode == 0, built.stdout + built.stderr
        assert f"{name} is ready" in built.stdout
        assert not failed
        eventually_sync(lambda: api.get("/stats").json()["stream"]["pending"] == 0)
        live = api.get("/stats").json()["live_release"]["collection"]

        def ids(name):
            words = {"filter": "id >= 0", "output_fields": ["id"], "limit": 16384, "consistency_level": "Strong"}
            return {row["id"] for row in milvus.query(name, **words)}

        eventually_sync(lambda: ids(f"images_{name}") == ids(live))
        assert {changed, *added} <= ids(f"images_{name}")
        assert deleted not in ids(f"images_{name}")
        assert running.command("reconcile").returncode == 0
        again = running.command(*words)
        assert again.returncode == 1
        assert "ready already" in again.stderr
    finally:
        execute(stack, "UPDATE releases SET state = 'retired' WHERE name = %s", name)
        time.sleep(3)  # by then every indexer knows it
        milvus.drop_collection(f"images_{name}")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--profile", "none"], "no index profile"),
        (["--model-version", "99"], "99"),
        (["--name", "a b"], "no name"),
    ],
)
def test_an_impossible_build_is_refused_with_a_one_sentence_error(running, words, reason):
    done = running.command("release", "build", *words)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bucket_can_be_indexed_in_place_and_a_missing_one_is_reported(running, stack, bucket):  # noqa: F811
    words = ("index", f"s3://{stack.s3_bucket}/built/")
    done = running.command(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 unchanged" in running.command(*words).stdout
    missing = running.command("index", "s3://no-such-bucket/x")
    assert missing.returncode == 1
    assert "Traceback" not in missing.stderr
