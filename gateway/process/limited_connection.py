"""An HTTP connection that ends when its sender is too slow, or sends endless headers."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

HEAD_S = 20.0
"""Longest time from the first byte of a request (or from the connection) to the end of its headers."""
HEAD_BYTES = 64 * 1024
"""Largest request line and headers together."""
BODY_CHECK_S, BODY_BYTES = 15.0, 16 * 1024
"""A body must bring at least so many bytes in each period, or be complete."""


class LimitedConnection(HttpToolsProtocol):
    """uvicorn's connection with limits on headers and on slow senders, which uvicorn leaves to a proxy in front."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0
        self._body_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._wait(HEAD_S, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of the headers, and pass the data on."""
        was_in_head = self._in_head
        self._body_bytes += len(data)
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(431, f"The headers are too large: at most {HEAD_BYTES // 1024} KB are accepted.")

    def on_message_begin(self) -> None:
        """Start to wait for the end of the headers."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._wait(HEAD_S, self._head_is_late)

    def on_headers_complete(self) -> None:
        """Start to wait for the body."""
        self._in_head = False
        super().on_headers_complete()
        self._body_bytes = 0
        self._wait(BODY_CHECK_S, self._check_body)

    def on_message_complete(self) -> None:
        """Stop the timers: the request is complete."""
        self._stop_waiting()
        super().on_message_complete()

    def _check_body(self) -> None:
        # While the application does not read, the sender is not at fault.
        if self._body_bytes < BODY_BYTES and not self.flow.read_paused:
            self._refuse(408, "The body comes too slowly. Send it again over a better connection.")
            return
        self._body_bytes = 0
        self._wait(BODY_CHECK_S, self._check_body)

    def _head_is_late(self) -> None:
        self._refuse(408, "The headers came too slowly. Send the request again.")

    def _refuse(self, status: int, detail: str) -> None:
        """Answer, unless an answer has begun already, and close the connection."""
        self._stop_waiting()
        if self.transport.is_closing():
            return
        silent = self._in_head and not self._head_bytes and self.cycle is None
        if not silent and (self._in_head or not self.cycle.response_started):
            phrase = HTTPStatus(status).phrase
            body = orjson.dumps({"type": "about:blank", "title": phrase, "status": status, "detail": detail})
            head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/problem+json\r\n"
            self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, then)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
