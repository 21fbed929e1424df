"""An HTTP connection with limits on headers, slow senders, connections of one network, and hasty callers."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.host_policy import PROBES

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, MutableMapping

    from gateway.limits.connections import Connections

HEAD_S = 20.0
"""Longest time from the first byte of a request (or from the connection) to the end of its headers."""
HEAD_BYTES = 64 * 1024
"""Largest request line and headers together."""
BODY_CHECK_S, BODY_BYTES = 15.0, 16 * 1024
"""A body must bring at least so many bytes in each period, or be complete."""
LONGEST_PAUSE_S = 5.0
"""Longest time for which a connection whose request was refused is not read."""
PROBE_PAUSE_S = 0.5
"""How long a connection is not read after a probe. Who probes does so every few seconds."""
UNCHARGED_A_SECOND = 20.0
"""Requests of one connection that no caller is charged for (pages, static files, unknown addresses), in bursts of as
many; after that it is not read for a moment after each."""
CHARGED = "visualsearch.charged"
"""Name in an ASGI scope of whether the request is charged to a caller, whose limits then hold."""
PAUSE = "visualsearch.pause"
"""Name in an ASGI scope of a function: do not read the connection for so many seconds after the answer."""


def pause_connection(scope: MutableMapping[str, Any], seconds: float) -> None:
    """Let the connection of a refused request wait before its next one is read, where the server can do that.

    Callers that come again at once, whatever Retry-After says, would otherwise cost as much as if they were served.
    """
    scope.get(PAUSE, lambda _seconds: None)(seconds)


class LimitedConnection(HttpToolsProtocol):
    """uvicorn's connection with limits that uvicorn leaves to a proxy in front."""

    def __init__(self, *arguments: Any, connections: Connections | None = None, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **options)
        self._all = connections
        self._counted = False
        self._wasted = True
        self._pause_s = 0.0
        self._uncharged, self._uncharged_at = 0.0, 0.0
        self._resuming: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0
        self._body_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._wait(HEAD_S, self._head_is_late)
        if self._all is not None and self.client is not None:
            address = self.client[0]
            if refusal := self._all.enter(address):
                self._answer(503, refusal)
                return
            self._counted = True
            if delay_s := self._all.delay_s(address):
                self._stop_reading(delay_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        if self._resuming is not None:
            self._resuming.cancel()
        if self._counted and self._all is not None and self.client is not None:
            self._all.leave(self.client[0], wasted=self._wasted)
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
        self.scope[PAUSE] = self._pause_after  # type: ignore[literal-required]
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

    def on_response_complete(self) -> None:
        """Go on with the next request, or stop reading for a while."""
        pause_s, self._pause_s = self._pause_s, 0.0
        if self.cycle.scope.get(CHARGED) and not pause_s:
            self._wasted = False
        if self.cycle.scope["path"] in PROBES:
            pause_s = max(pause_s, PROBE_PAUSE_S)
        elif not self.cycle.scope.get(CHARGED):
            pause_s = max(pause_s, self._count_uncharged())
        # A connection of a proxy carries the requests of others too.
        if not pause_s or self.cycle.scope["client"] != self.client:
            super().on_response_complete()
        elif self.pipeline:  # the next request was not waited with
            self.transport.close()
        else:
            super().on_response_complete()
            if not self.transport.is_closing():
                self._stop_reading(min(pause_s, LONGEST_PAUSE_S))

    def _count_uncharged(self) -> float:
        """Count a request that nobody is charged for; return how long the next one must wait."""
        now = self.loop.time()
        self._uncharged = max(0.0, self._uncharged - (now - self._uncharged_at) * UNCHARGED_A_SECOND) + 1
        self._uncharged_at = now
        return 0.0 if self._uncharged <= UNCHARGED_A_SECOND else 1 / UNCHARGED_A_SECOND

    def _pause_after(self, seconds: float) -> None:
        self._pause_s = seconds

    def _stop_reading(self, seconds: float) -> None:
        self.flow.pause_reading()
        self._resuming = self.loop.call_later(seconds, self._read_again)

    def _read_again(self) -> None:
        self._resuming = None
        if not self.transport.is_closing():
            self.flow.resume_reading()

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
        if self.transport.is_closing():
            return
        silent = self._in_head and not self._head_bytes and self.cycle is None
        if not silent and (self._in_head or not self.cycle.response_started):
            self._answer(status, detail)
        self.transport.close()

    def _answer(self, status: int, detail: str) -> None:
        """Write a problem document and close the connection."""
        phrase = HTTPStatus(status).phrase
        body = orjson.dumps({"type": "about:blank", "title": phrase, "status": status, "detail": detail})
        head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/problem+json\r\n"
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            head += "retry-after: 1\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, then)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
