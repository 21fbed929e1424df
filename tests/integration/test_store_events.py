"""Pictures that reach the bucket without the gateway, and events of every kind, on the real servers."""

import httpx
import obstore
import psycopg
import pytest
import redis
from obstore.store import S3Store
from redis.exceptions import ResponseError

from tests.eventually import eventually_sync
from tests.integration.test_rest import assert_problem, search
from tests.pictures import jpeg
from visualsearch.adapters.s3.object_store import uri_of
from visualsearch.adapters.valkey.event_stream import GROUP, STREAM

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def bucket(stack):
    """The bucket as any S3 client sees it."""
    return S3Store(
        stack.s3_bucket,
        endpoint=stack.s3_url,
        region=stack.s3_region,
        access_key_id=stack.s3_access_key.get_secret_value(),
        secret_access_key=stack.s3_secret_key.get_secret_value(),
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


@pytest.fixture
def valkey(stack):
    with redis.Redis.from_url(
        stack.valkey_url, password=stack.valkey_password.get_secret_value(), decode_responses=True
    ) as client:
        yield client


def rows(stack, uri):
    password = stack.postgres_password.get_secret_value()
    with psycopg.connect(stack.postgres_dsn, password=password) as connection:
        query = "SELECT id, status, reason FROM images WHERE uri = %s"
        return connection.execute(query, (uri,)).fetchall()


def settled(stack, key):
    """The one row of a key, once it is indexed or rejected."""
    found = rows(stack, uri_of(stack.s3_bucket, key))
    assert len(found) <= 1
    return found[0] if found and found[0][1] != "pending" else None


def first(api, data):
    answer = search(api, data, k=1, near_duplicates="keep")
    return answer.json()["results"][0] if answer.status_code == 200 and answer.json()["results"] else {"uri": ""}


@pytest.mark.parametrize("key", ["straight/a.jpg", "straight/ü 100% + & #?.jpg", "straight/deep/er/b.jpg"])
def test_a_picture_put_into_the_bucket_is_found_and_one_removed_there_is_not(stack, api, bucket, key):
    data, uri = jpeg(len(key) + 300), uri_of(stack.s3_bucket, key)
    obstore.put(bucket, key, data)
    eventually_sync(lambda: first(api, data)["uri"] == uri)
    obstore.delete(bucket, key)
    eventually_sync(lambda: first(api, data)["uri"] != uri)
    eventually_sync(lambda: not rows(stack, uri))


def test_a_picture_replaced_in_the_bucket_is_found_by_its_new_content_only(stack, api, bucket):
    key = "straight/changing.jpg"
    obstore.put(bucket, key, jpeg(310))
    eventually_sync(lambda: settled(stack, key))
    obstore.put(bucket, key, jpeg(311))
    uri = uri_of(stack.s3_bucket, key)
    # Alone in the corpus, it is the first result whatever it shows; only its new content scores this high.
    eventually_sync(lambda: (hit := first(api, jpeg(311)))["uri"] == uri and hit["score"] > 0.99)
    assert search(api, jpeg(310), k=1, near_duplicates="keep").json()["results"][0]["score"] < 0.99
    assert len(rows(stack, uri)) == 1


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"a text file", "not a JPEG"),
        ("large.jpg", jpeg(1) + bytes(200 * 2**20), "bytes"),
        ("cut.jpg", jpeg(1)[:2000], "cut off"),
    ],
)
def test_an_object_that_is_no_picture_is_rejected_with_its_reason(stack, bucket, name, data, reason):
    obstore.put(bucket, f"bad/{name}", data)
    row = eventually_sync(lambda: settled(stack, f"bad/{name}"))
    assert row[1] == "rejected"
    assert reason in row[2]


def tell(api, stack, body, token=None):
    token = stack.webhook_token.get_secret_value() if token is None else token
    return api.post("/events/s3", json=body, headers={"Authorization": f"Bearer {token}"})


def test_a_store_may_report_objects_by_webhook(stack, api, bucket, valkey):
    key = "hook/a b.jpg"
    obstore.put(bucket, key, jpeg(320))
    ours = {"bucket": {"name": stack.s3_bucket}, "object": {"key": "hook%2Fa+b.jpg"}}
    record = {"eventName": "s3:ObjectCreated:Put", "s3": ours}
    strange = {**record, "s3": {**ours, "bucket": {"name": "other"}}}
    answer = tell(api, stack, {"Records": [record, strange]})
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 1
    assert "not ours" in answer.json()["refused"][0]["reason"]
    assert eventually_sync(lambda: settled(stack, key))[1] == "indexed"
    assert_problem(tell(api, stack, {"Records": [record]}, token="wrong"), 401)


def test_unusable_entries_become_dead_letters_with_reasons(running, stack, api, valkey):
    for fields in (
        {"no": "such form"},
        {"kind": "created", "uri": "s3://other/x.jpg", "image_id": "", "etag": ""},
        {"kind": "created", "uri": f"s3://{stack.s3_bucket}/never/was.jpg", "image_id": "", "etag": ""},
        {"kind": "created", "uri": f"s3://{stack.s3_bucket}/../x", "image_id": "zwölf", "etag": ""},
    ):
        valkey.xadd(STREAM, fields)
    letters = eventually_sync(lambda: (found := api.get("/dead-letters").json()) and len(found) >= 4 and found)
    assert all(letter["reason"] for letter in letters)
    assert "never/was.jpg" in " ".join(letter["uri"] for letter in letters)
    listed = running.command("dead-letters", "list")
    assert "no such object" in " ".join(listed.stdout.split())
    eventually_sync(lambda: api.get("/stats").json()["stream"]["pending"] == 0)
    assert api.post("/dead-letters/retry", json={}).json()["retried"] >= 4
    eventually_sync(lambda: len(api.get("/dead-letters").json()) >= 4)  # as hopeless as before


def test_an_upload_whose_event_was_lost_by_the_stream_is_still_indexed(stack, api, valkey):
    """Without consumer group and entries, as after a flush, the sweeper publishes the events of pending rows again."""
    accepted = []
    for seed in range(330, 340):
        answer = api.post("/images", files={"image": ("x.jpg", jpeg(seed))})
        valkey.flushdb()
        accepted.append(answer.json()["id"])
    status = lambda: [api.get(f"/images/{image_id}").json()["status"] for image_id in accepted]  # noqa: E731
    eventually_sync(lambda: set(status()) == {"indexed"}, 90)


def test_the_stream_is_trimmed_behind_what_is_acknowledged(api, valkey):
    eventually_sync(lambda: api.get("/stats").json()["stream"]["pending"] == 0)

    def trimmed():
        try:
            valkey.xinfo_groups(STREAM)
        except (ResponseError, httpx.HTTPError):
            return False
        return valkey.xlen(STREAM) <= 1

    eventually_sync(trimmed, 60)
    assert [group["name"] for group in valkey.xinfo_groups(STREAM)] == [GROUP]
