"""Reads bodies that are held in memory, up to a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Request

from visualsearch.domain.errors import RequestTooLarge

if TYPE_CHECKING:
    from starlette.types import Message

    from gateway.limits.caller_limits import Account

MAX_JSON_BYTES = 256 * 1024
"""The largest request, a retry of 1,000 dead letters, has about 60 KB. Checking a body blocks the process."""


def announced_bytes(request: Request) -> int:
    """Return the size of the body according to Content-Length; 0 if the header is missing."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


async def read_body(request: Request, account: Account, max_bytes: int, advice: str) -> bytes:
    """Read a body and charge it. Raises ``RequestTooLarge``, with the advice, as soon as it is too large.

    That is before anything is read if Content-Length says so.
    """
    announced = announced_bytes(request)
    refusal = RequestTooLarge(f"The body has more than {max_bytes // 1024} KB, which is the limit here: {advice}.")
    if announced > max_bytes:
        raise refusal
    account.charge_body(announced)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > max_bytes:
            raise refusal
    account.charge_body(max(0, len(body) - announced))
    return bytes(body)


async def with_json(request: Request, account: Account) -> Request:
    """Read and charge a JSON body, and return a request that still has it. Raises ``RequestTooLarge``."""
    body = await read_body(request, account, MAX_JSON_BYTES, "send several smaller requests")

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(request.scope, receive)
