"""Turns reported changes into events: looks up which objects they mean."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from visualsearch.domain.errors import NotFound
from visualsearch.domain.indexing import Event, EventKind

if TYPE_CHECKING:
    from gateway.api.s3_notifications import Notification, Report
    from visualsearch.ports import ObjectStore

LOOKUPS = 8
"""Objects that one notification looks up at once."""
MISSING = "The bucket has no such object (any more)."


async def find_objects(
    notification: Notification, object_store: ObjectStore
) -> tuple[list[Event], list[tuple[int, str]]]:
    """Return the events of a notification, and its refused records. Raises ``Unavailable``.

    What says that an object was created which does not exist is refused. An indexer would make a dead letter of it, so
    anybody who may send notifications could make any number.
    """
    looking = asyncio.Semaphore(LOOKUPS)

    async def find(report: Report) -> list[Event]:
        if report.kind is EventKind.DELETED:
            # In every reading of the key: the indexer removes only images whose objects are gone.
            return _events(report, report.keys)
        async with looking:
            return _events(report, await _existing(report, object_store))

    def _events(report: Report, keys: tuple[str, ...]) -> list[Event]:
        return [Event(report.kind, object_store.uri(key), etag=report.etag) for key in keys]

    found = await asyncio.gather(*map(find, notification.reports))
    missing = [(one.record, MISSING) for one, events in zip(notification.reports, found, strict=True) if not events]
    return [event for events in found for event in events], sorted(notification.refused + missing)


async def _existing(report: Report, object_store: ObjectStore) -> tuple[str, ...]:
    """Return the first reading of a key whose object is the reported one, or else all readings that exist."""
    there = []
    for key in report.keys:
        try:
            etag = await object_store.etag(key)
        except NotFound:
            continue
        if etag == report.etag:
            return (key,)
        there.append(key)
    return tuple(there)
