"""Contract of the repository of API keys, tested with the fake and Postgres."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes.api_key_repository import FakeApiKeys
from visualsearch.adapters.postgres.api_key_repository import PostgresApiKeys
from visualsearch.adapters.postgres.database import Database
from visualsearch.domain.access import KeyText, Scope, new_key
from visualsearch.domain.errors import Conflict, NotFound

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
READER = frozenset({Scope.SEARCH})


def key(owner="ada", scopes=READER, lifetime=None, note=""):
    return new_key(KeyText.make(), owner, scopes, lifetime and datetime.now(UTC) + lifetime, note)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def api_keys(request):
    if request.param == "fake":
        yield FakeApiKeys()
        return
    request.getfixturevalue("postgres_server").execute("TRUNCATE api_keys")
    database = Database(*request.getfixturevalue("database"), 5.0)
    yield PostgresApiKeys(database)
    await database.close()


async def ids(api_keys, known=None):
    found = await api_keys.active(known)
    return {one.id for one in found.keys}


async def test_a_key_is_read_back_unchanged(api_keys):
    first = key("ada", frozenset({Scope.SEARCH, Scope.INGEST}), HOUR, "the phone")
    second = replace(key("bob", frozenset({Scope.ADMIN})), created_at=first.created_at + SECOND)
    for one in (first, second):
        await api_keys.add(one)
    assert await api_keys.everything() == [second, first]
    assert set((await api_keys.active(None)).keys) == {first, second}


async def test_an_id_is_used_once(api_keys):
    one = key()
    await api_keys.add(one)
    with pytest.raises(Conflict):
        await api_keys.add(one)


async def test_revoked_and_expired_keys_are_listed_but_not_active(api_keys):
    revoked, valid = key(), key()
    expired = replace(key(), expires_at=datetime.now(UTC) - SECOND)
    for one in (revoked, valid, expired):
        await api_keys.add(one)
    assert (await api_keys.revoke(revoked.id)).state(datetime.now(UTC)) == "revoked"
    assert await ids(api_keys) == {valid.id}
    assert len(await api_keys.everything()) == 3


async def test_revoking_again_keeps_the_first_time(api_keys):
    one = key()
    await api_keys.add(one)
    first = await api_keys.revoke(one.id)
    assert await api_keys.revoke(one.id) == first
    with pytest.raises(NotFound):
        await api_keys.revoke("0" * 12)


async def test_a_rotated_key_has_a_successor_of_the_same_kind_and_ends_after_the_overlap(api_keys):
    one = key("ada", frozenset({Scope.SEARCH, Scope.INGEST}), 24 * HOUR, "the phone")
    await api_keys.add(one)
    text, now = KeyText.make(), datetime.now(UTC)
    old, new = await api_keys.rotate(one.id, text, None, HOUR)
    assert (old.id, new.id, new.digest) == (one.id, text.id, text.digest)
    assert (new.owner, new.scopes, new.note, new.last_used_at) == (one.owner, one.scopes, one.note, None)
    assert abs(old.expires_at - now - HOUR) < 10 * SECOND
    assert abs(new.expires_at - now - 24 * HOUR) < 10 * SECOND
    assert await ids(api_keys) == {old.id, new.id}


async def test_without_an_overlap_a_rotated_key_ends_at_once(api_keys):
    one = key()
    await api_keys.add(one)
    _, new = await api_keys.rotate(one.id, KeyText.make(), None, timedelta())
    assert new.expires_at is None
    assert await ids(api_keys) == {new.id}


async def test_an_overlap_prolongs_no_key(api_keys):
    one = key(lifetime=HOUR)
    await api_keys.add(one)
    old, _ = await api_keys.rotate(one.id, KeyText.make(), None, 24 * HOUR)
    assert old.expires_at == one.expires_at


async def test_what_is_revoked_or_unknown_cannot_be_rotated(api_keys):
    one = key()
    await api_keys.add(one)
    await api_keys.revoke(one.id)
    with pytest.raises(Conflict):
        await api_keys.rotate(one.id, KeyText.make(), None, HOUR)
    with pytest.raises(NotFound):
        await api_keys.rotate("0" * 12, KeyText.make(), None, HOUR)
    assert len(await api_keys.everything()) == 1


async def test_active_keys_are_told_again_only_after_a_change(api_keys):
    empty = await api_keys.active(None)
    assert not empty.keys
    assert not empty.any_made
    one = key()
    await api_keys.add(one)
    added = await api_keys.active(empty.version)
    assert [each.id for each in added.keys] == [one.id]
    assert await api_keys.active(added.version) is None
    await api_keys.mark_used([one.id])
    assert await api_keys.active(added.version) is None, "a use changes nothing that a gateway must know"
    await api_keys.revoke(one.id)
    revoked = await api_keys.active(added.version)
    assert not revoked.keys
    assert revoked.any_made, "who made keys once does not want an open gateway after the last of them"


async def test_the_last_use_is_recorded_at_most_once_a_minute(api_keys):
    one, other = key(), key()
    for each in (one, other):
        await api_keys.add(each)
    await api_keys.mark_used([one.id, "0" * 12])
    used = {each.id: each.last_used_at for each in await api_keys.everything()}
    assert used[one.id] is not None
    assert used[other.id] is None
    await api_keys.mark_used([one.id])
    assert {each.id: each.last_used_at for each in await api_keys.everything()} == used
