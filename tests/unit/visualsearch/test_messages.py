"""Messages of the queues: those of earlier versions are still read, and malformed ones are recognized."""

from datetime import UTC, datetime

import pytest

from visualsearch.adapters.messages import (
    decode_dead_letter,
    decode_event,
    decode_interaction,
    encode_dead_letter,
    encode_event,
    encode_interaction,
)
from visualsearch.domain.indexing import DeadLetter, Delivery, Event, EventKind
from visualsearch.domain.interactions import Click, Search

AT = datetime(2026, 11, 27, 14, 5, 6, 789012, UTC)
ID = "0123456789abcdef0123456789abcdef"
URI = "s3://images/a/é.jpg"

# Written by version 0.1.0.
OLD_SEARCH = (
    '{"kind": "search", "query_image_id": 9, "release": "v1", "shown": [3, 2, 1], "user": 4611686018427387904,'
    ' "picture": true, "box": "1,2,3,4", "blob_key": "queries/9", "variants": {"ef": "w\\u00efde"}, "owner": "ada",'
    ' "id": "0123456789abcdef0123456789abcdef", "at": "2026-11-27T14:05:06.789012+00:00"}'
)
OLD_CLICK = (
    '{"kind": "click", "query_image_id": 9, "displayed_image_id": 3, "rank": 1, "user": null, "checked": false,'
    ' "id": "0123456789abcdef0123456789abcdef", "at": "2026-11-27T14:05:06.789012+00:00"}'
)
OLD_EVENT = {"kind": "created", "uri": URI, "image_id": "7", "etag": "d41d8", "traceparent": "00-1-2-01"}
OLD_EVENT_WITHOUT_ID = {"kind": "deleted", "uri": URI, "image_id": "", "etag": ""}
OLD_DEAD_LETTER = OLD_EVENT | {
    "reason": "broken",
    "deliveries": "5",
    "died_at": "2026-11-27T14:05:06.789012+00:00",
}

SEARCH = Search(9, "v1", (3, 2, 1), 2**62, True, "1,2,3,4", "queries/9", {"ef": "wïde"}, "ada", ID, AT)
CLICK = Click(9, 3, 1, None, False, ID, AT)
EVENT = Event(EventKind.CREATED, URI, 7, "d41d8", "00-1-2-01")
EVENT_WITHOUT_ID = Event(EventKind.DELETED, URI)


def stored(fields):
    """The fields as Valkey gives them back: text."""
    return {name: str(value) for name, value in fields.items()}


@pytest.mark.parametrize(("text", "interaction"), [(OLD_SEARCH, SEARCH), (OLD_CLICK, CLICK)])
def test_an_interaction_of_the_previous_version_is_read(text, interaction):
    assert decode_interaction(text) == interaction


def test_an_interaction_from_before_owners_were_recorded_is_read():
    found = decode_interaction(OLD_SEARCH.replace(' "owner": "ada",', ""))
    assert (found.owner, found.id) == ("", ID)


@pytest.mark.parametrize("interaction", [SEARCH, CLICK, Search(10, "v1", ()), Click(9, 3, 1, 2**62)])
def test_an_interaction_is_read_back_unchanged(interaction):
    assert decode_interaction(encode_interaction(interaction)) == interaction


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"kind": "click"}',
        OLD_CLICK.replace("click", "purchase"),
        OLD_CLICK.replace(ID, "1"),
        OLD_CLICK.replace(f' "id": "{ID}",', ""),
        OLD_CLICK.replace("2026-11-27T14", "yesterday"),
        OLD_CLICK.replace('"rank"', '"place"'),
        OLD_CLICK.replace('"rank": 1', '"rank": 1, "mood": "good"'),
        OLD_SEARCH.replace("[3, 2, 1]", "3"),
    ],
)
def test_a_malformed_interaction_is_none(text):
    assert decode_interaction(text) is None


@pytest.mark.parametrize(("fields", "event"), [(OLD_EVENT, EVENT), (OLD_EVENT_WITHOUT_ID, EVENT_WITHOUT_ID)])
def test_an_event_of_the_previous_version_is_read(fields, event):
    found = decode_event(fields)
    assert (found, found.traceparent) == (event, event.traceparent)


@pytest.mark.parametrize("event", [EVENT, EVENT_WITHOUT_ID, Event(EventKind.CREATED, "")])
def test_an_event_is_read_back_unchanged(event):
    found = decode_event(stored(encode_event(event)))
    assert (found, found.traceparent) == (event, event.traceparent)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"what": "ever"},
        {"kind": "created"},
        OLD_EVENT | {"kind": "exploded"},
        OLD_EVENT | {"uri": "s3://images/\x00"},
        OLD_EVENT | {"image_id": "-1"},
        OLD_EVENT | {"image_id": "seven"},
        OLD_EVENT | {"image_id": "9" * 5000},
    ],
)
def test_a_malformed_event_has_no_uri(fields):
    assert decode_event(fields) == Event(EventKind.CREATED, "")


def test_an_event_with_an_unusable_uri_is_written_and_found_malformed_when_it_is_read():
    fields = encode_event(Event(EventKind.CREATED, "s3://images/\x00"))
    assert decode_event(stored(fields)) == Event(EventKind.CREATED, "")


def test_a_dead_letter_of_the_previous_version_is_read():
    assert decode_dead_letter("1-0", OLD_DEAD_LETTER) == DeadLetter("1-0", EVENT, "broken", 5, AT)


def test_a_dead_letter_is_read_back_unchanged():
    fields = stored(encode_dead_letter(Delivery("1-0", EVENT_WITHOUT_ID, 5), "broken", AT))
    assert decode_dead_letter("2-0", fields) == DeadLetter("2-0", EVENT_WITHOUT_ID, "broken", 5, AT)
