"""The object store's change log, as SeaweedFS' filer keeps it.

The filer logs every change of a file with its time, whether it was made by S3, HTTP or a mount. It streams the log over
gRPC from any time in the past. The sweep of the bucket finds what the log misses:

- The filer keeps the newest minute in memory. A filer that is killed loses those entries unless they were streamed; one
  that shuts down writes them to disk.
- In a bucket with versioning, the store keeps an object as files ``<key>.versions/v_<version>``. The log contains only
  these files, which are not objects, so no changes of such a bucket are passed on.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
from typing_extensions import override

from visualsearch.adapters.seaweedfs.filer.filer_pb2 import Entry, SubscribeMetadataRequest, SubscribeMetadataResponse
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.indexing import Change, EventKind
from visualsearch.ports import ChangeFeed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from visualsearch.tls import ClientTLS

METHOD = "/filer_pb.SeaweedFiler/SubscribeMetadata"
PAGE = 1000
CHANGES_EACH = 2
"""Most changes that one response stands for: a rename removes one key and creates another."""
PAGE_S = 0.5
"""Longest time to fill a page."""
LINGER_S = 0.01
"""How long a page that is not empty waits for further responses."""
HEARTBEAT_S = 5.0
"""Interval of the filer's heartbeats while nothing changes (since May 2026, seaweedfs/seaweedfs#9589)."""
NO_OBJECT = re.compile(r"\.uploads/|.*\.versions/v_[0-9a-f]+$", re.DOTALL)
"""Parts of unfinished uploads (the completed object is logged separately), and versions of objects."""
ETAG = "Seaweed-X-Amz-ETag"
CHANNEL = [
    # Otherwise a new channel would reuse the old one's connection, which may be broken.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A file of very many chunks makes a long message. A rejected message would block the feed for ever.
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
]


class SeaweedFSChangeFeed(ChangeFeed):
    """Changes of one bucket, from the log of a filer at ``address`` (host:port of its gRPC).

    The filer accepts every client unless its security.toml has ``[grpc] ca`` and ``[grpc.filer] cert, key``; then it
    requires a client certificate. Without ``tls`` nothing is encrypted.
    """

    def __init__(self, address: str, bucket: str, timeout_s: float, tls: ClientTLS | None = None) -> None:
        self._address = address
        self._folder = f"/buckets/{bucket}/"
        self._timeout_s = timeout_s
        self._tls = tls
        self._channels: set[grpc.aio.Channel] = set()

    @override
    async def follow(self, since_ns: int) -> AsyncGenerator[list[Change], None]:
        """Yield every change after ``since_ns`` (nanoseconds since 1970), oldest first, in pages; empty ones when idle.

        The change at ``since_ns`` itself may be repeated. Changes of several writers at one time come in the order of
        the log, in which their times may differ by some microseconds. A consumer that resumes after the highest time it
        has seen misses none.

        Raises ``Unavailable`` if the filer does not accept within ``timeout_s``, disconnects, or sends nothing for two
        heartbeats and ``timeout_s``.
        """
        async with self._responses(since_ns) as responses:
            while True:
                yield await self._page(responses)

    async def _page(self, responses: _Responses) -> list[Change]:
        changes: list[Change] = []
        ends_at = time.monotonic() + PAGE_S
        while len(changes) <= PAGE - CHANGES_EACH and (left_s := ends_at - time.monotonic()) > 0:
            response = await responses.next(LINGER_S if changes else left_s)
            if response is None:
                break
            changes += self._changes(response)
        return changes

    def _changes(self, response: SubscribeMetadataResponse) -> list[Change]:
        event, at_ns = response.event_notification, response.ts_ns
        old = self._key(response.directory, event.old_entry)
        new = self._key(event.new_parent_path or response.directory, event.new_entry)
        changes = []
        if old and old != new:
            changes.append(Change(EventKind.DELETED, old, _etag(event.old_entry), at_ns))
        if new:
            changes.append(Change(EventKind.CREATED, new, _etag(event.new_entry), at_ns))
        return changes

    def _key(self, folder: str, entry: Entry) -> str:
        """Return the key of a file; empty if there is no file or it is not an object of the bucket."""
        path = f"{folder}/{entry.name}"
        if not entry.name or entry.is_directory or not path.startswith(self._folder):
            return ""
        key = path.removeprefix(self._folder)
        return "" if NO_OBJECT.match(key) else key

    @asynccontextmanager
    async def _responses(self, since_ns: int) -> AsyncIterator[_Responses]:
        """Subscribe over a new connection; translate gRPC's errors."""
        channel = self._channel()
        self._channels.add(channel)
        try:
            async with asyncio.timeout(self._timeout_s):
                await channel.channel_ready()
            responses = _Responses(channel, self._request(since_ns), 2 * HEARTBEAT_S + self._timeout_s)
            try:
                yield responses
            finally:
                await responses.close()
        except TimeoutError:
            raise Unavailable("The object store's change log", "no connection") from None
        except grpc.aio.AioRpcError as error:
            raise Unavailable("The object store's change log", f"{error.code().name}: {error.details()}") from None
        except grpc.aio.UsageError:
            raise Unavailable("The object store's change log", "the connection was closed") from None
        finally:
            self._channels.discard(channel)
            await channel.close()

    def _channel(self) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(self._address, options=CHANNEL)
        try:
            credentials = grpc.ssl_channel_credentials(*self._tls.pem())  # renewed since the last subscription, perhaps
        except OSError as error:
            raise Unavailable("The object store's change log", f"certificates cannot be read: {error}") from None
        return grpc.aio.secure_channel(self._address, credentials, options=CHANNEL)

    def _request(self, since_ns: int) -> SubscribeMetadataRequest:
        return SubscribeMetadataRequest(
            client_name="visual-search",
            path_prefix=self._folder,
            since_ns=since_ns,
            # Random, because a filer refuses a second subscription with the same number.
            client_id=1 + secrets.randbelow(2**31 - 1),
            client_epoch=1,
            client_supports_idle_heartbeat=True,
        )

    @override
    async def close(self) -> None:
        """Close the connections; ``follow`` then raises ``Unavailable``."""
        for channel in list(self._channels):
            await channel.close()


class _Responses:
    """Reads the filer's responses one by one.

    A timeout keeps the pending read, because cancelling it would end the call.
    """

    def __init__(self, channel: grpc.aio.Channel, request: SubscribeMetadataRequest, silence_s: float) -> None:
        subscribe = channel.unary_stream(
            METHOD, SubscribeMetadataRequest.SerializeToString, SubscribeMetadataResponse.FromString
        )
        self._call = subscribe(request)
        self._reading = asyncio.ensure_future(self._call.read())
        self._silence_s = silence_s
        self._heard = time.monotonic()

    async def next(self, wait_s: float) -> SubscribeMetadataResponse | None:
        """Return the next response, or None if there is none within ``wait_s``."""
        done, _ = await asyncio.wait({self._reading}, timeout=wait_s)
        if not done:
            if time.monotonic() - self._heard > self._silence_s:
                raise Unavailable("The object store's change log", "not even a heartbeat came")
            return None
        if self._reading.cancelled():
            raise Unavailable("The object store's change log", "the connection was closed")
        response = self._reading.result()
        if not isinstance(response, SubscribeMetadataResponse):  # gRPC's end-of-stream marker
            raise Unavailable("The object store's change log", "the filer ended the subscription")
        self._heard = time.monotonic()
        self._reading = asyncio.ensure_future(self._call.read())
        return response

    async def close(self) -> None:
        """End the subscription."""
        self._call.cancel()
        await asyncio.wait({self._reading})
        if not self._reading.cancelled():
            self._reading.exception()  # retrieve it, so that asyncio does not log it


def _etag(entry: Entry) -> str:
    """Return the entity tag that S3 returns: the stored one, otherwise the file's MD5; empty if there is neither."""
    if ETAG in entry.extended:
        return entry.extended[ETAG].decode(errors="replace").strip('"')
    return entry.attributes.md5.hex()
