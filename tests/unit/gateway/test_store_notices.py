"""Notifications as stores really send them: names of events, spellings of keys, and EventBridge's form."""

import orjson
import pytest

from tests.unit.gateway.test_operations import put, record, serving, tell, told  # noqa: F401
from visualsearch.domain.indexing import EventKind

CREATED, DELETED = EventKind.CREATED, EventKind.DELETED


def eventbridge(key, kind="Object Created", bucket="images", **detail):
    """An event of EventBridge, whose key is not encoded."""
    thing = {"key": key, "size": 5, "etag": "abc", "version-id": "7", "sequencer": "00617F08299329D189"}
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": kind,
        "source": "aws.s3",
        "account": "123456789012",
        "time": "2026-11-27T10:00:00Z",
        "region": "eu-central-1",
        "resources": [f"arn:aws:s3:::{bucket}"],
        "detail": {"version": "0", "bucket": {"name": bucket}, "object": thing, "reason": "PutObject"} | detail,
    }


def events(serving):  # noqa: F811
    return [(event.kind, serving.object_store.key(event.uri)) for event in told(serving)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ObjectCreated:Put", CREATED),
        ("s3:ObjectCreated:Copy", CREATED),
        ("s3:ObjectCreated:CompleteMultipartUpload", CREATED),
        ("s3:ObjectCreated:PutRetention", CREATED),
        ("s3:ObjectRestore:Completed", CREATED),
        ("s3:ObjectSynced:Create", CREATED),
        ("s3:ObjectRemoved:Delete", DELETED),
        ("s3:ObjectRemoved:DeleteMarkerCreated", DELETED),
        ("s3:ObjectRemoved:DeleteAllVersions", DELETED),
        ("s3:LifecycleExpiration:Delete", DELETED),
        ("s3:LifecycleExpiration:DeleteMarkerCreated", DELETED),
        ("s3:LifecycleDelMarkerExpiration:Delete", DELETED),
        ("s3:ObjectLifecycle:Expiration:Current", DELETED),
        ("s3:ObjectSynced:Delete", DELETED),
    ],
)
async def test_each_stores_names_of_events_are_understood(serving, name, kind):  # noqa: F811
    await put(serving, "a.jpg")
    assert (await tell(serving, {"Records": [record("a.jpg", name)]})).json()["accepted"] == 1
    assert events(serving) == [(kind, "a.jpg")]


@pytest.mark.parametrize(
    "name",
    [
        "s3:ObjectAccessed:Get",
        "s3:ObjectTagging:Put",
        "s3:ObjectAcl:Put",
        "s3:LifecycleTransition",
        "s3:ObjectLifecycle:Transition:Current",
        "s3:ObjectRestore:Post",
        "s3:ObjectCreatedX:Put",
        "s3:Replication:OperationFailedReplication",
    ],
)
async def test_events_that_change_no_picture_are_refused_with_a_reason(serving, name):  # noqa: F811
    await put(serving, "a.jpg")
    (refused,) = (await tell(serving, {"Records": [record("a.jpg", name)]})).json()["refused"]
    assert "not used" in refused["reason"]


@pytest.mark.parametrize("key", ["a+b.jpg", "100%25.jpg", "50% off+tax.jpg", "%41.jpg"])
async def test_a_key_that_the_store_did_not_encode_is_found(serving, key):  # noqa: F811
    await put(serving, key)
    assert (await tell(serving, {"Records": [record(key)]})).json() == {"accepted": 1, "refused": []}
    assert events(serving) == [(CREATED, key)]


async def test_of_two_objects_that_a_key_can_mean_the_one_with_the_entity_tag_is_taken(serving):  # noqa: F811
    await serving.object_store.put("a b.jpg", b"one")
    etag = await serving.object_store.put("a+b.jpg", b"other")
    for tag, keys in ((etag, ["a+b.jpg"]), ("", ["a b.jpg", "a+b.jpg"])):
        serving.events.entries.clear()
        assert (await tell(serving, {"Records": [record("a+b.jpg", eTag=tag)]})).json()["accepted"] == 1
        assert events(serving) == [(CREATED, key) for key in keys]


async def test_values_that_are_no_texts_are_taken_for_missing_ones(serving):  # noqa: F811
    nested = b"[" * 990 + b"]" * 990
    body = orjson.dumps({"Records": [record("a.jpg", "s3:ObjectRemoved:Delete", eTag="x"), record("a.jpg", "y")]})
    answer = await tell(serving, body.replace(b'"x"', nested).replace(b'"y"', nested))
    assert answer.json()["accepted"] == 1
    assert "not used" in answer.json()["refused"][0]["reason"]


async def test_a_deletion_is_reported_for_both_spellings_of_a_key(serving):  # noqa: F811
    assert (await tell(serving, {"Records": [record("a+b.jpg", "s3:ObjectRemoved:Delete")]})).json()["accepted"] == 1
    assert events(serving) == [(DELETED, "a b.jpg"), (DELETED, "a+b.jpg")]


async def test_a_key_whose_decoded_form_is_reserved_is_refused_however_it_is_spelt(serving):  # noqa: F811
    await serving.object_store.put("queries%2F7", b"a picture")
    (refused,) = (await tell(serving, {"Records": [record("queries%2F7")]})).json()["refused"]
    assert "reserved" in refused["reason"]


@pytest.mark.parametrize("key", ["my folder/ü 100%.jpg", "a+b.jpg", "%41.jpg"])
async def test_an_event_of_eventbridge_is_accepted_with_its_key_as_it_is(serving, key):  # noqa: F811
    await put(serving, key)
    assert (await tell(serving, eventbridge(key))).json() == {"accepted": 1, "refused": []}
    assert events(serving) == [(CREATED, key)]


@pytest.mark.parametrize("how", ["Permanently Deleted", "Delete Marker Created"])
async def test_eventbridge_reports_deletions_and_delete_markers(serving, how):  # noqa: F811
    body = eventbridge("a.jpg", "Object Deleted", **{"deletion-type": how, "reason": "Lifecycle Expiration"})
    assert (await tell(serving, body)).json()["accepted"] == 1
    assert events(serving) == [(DELETED, "a.jpg")]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (eventbridge("a.jpg", "Object Tags Added"), "not used"),
        (eventbridge("a.jpg") | {"source": "aws.ec2"}, "not used"),
        (eventbridge("a.jpg", bucket="other"), "not ours"),
        (eventbridge("queries/7"), "reserved"),
        (eventbridge("uploads/7.jpg"), "reserved for uploads"),
        (eventbridge("never.jpg"), "no such object"),
        (eventbridge("a.jpg") | {"detail": 7}, "no bucket or no key"),
        (eventbridge("a.jpg", object={"key": 7}), "no bucket or no key"),
    ],
)
async def test_an_event_of_eventbridge_that_cannot_be_used_is_refused(serving, body, reason):  # noqa: F811
    await put(serving, "a.jpg", "queries/7", "uploads/7.jpg")
    answer = (await tell(serving, body)).json()
    assert answer["accepted"] == 0
    assert reason in answer["refused"][0]["reason"]
    assert not told(serving)
