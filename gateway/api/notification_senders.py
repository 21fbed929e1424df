"""Who may send notifications of an object store: whoever shows the token or a key, and topics of Amazon SNS."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import orjson

from gateway.api.dependencies import address_of, gateway_of
from visualsearch.domain.access import Scope
from visualsearch.domain.errors import InvalidInput, RateLimited, Unauthenticated

if TYPE_CHECKING:
    from fastapi import Request

    from gateway.service import Gateway

WEBHOOK = "webhook"
"""Who an object store is that shows the token. An owner is called otherwise, since its name begins with ``owner``."""
SNS_TYPE = "x-amz-sns-message-type"
"""A header of every message of SNS."""
MAX_MESSAGE_BYTES = 2**19
"""SNS sends messages of up to 256 KB, and quotes in them take two bytes."""


async def receive(request: Request) -> tuple[str, object]:
    """Return who sent a notification, and its JSON.

    Nothing is read of who shows neither a token nor a key, but messages of SNS, which can show none. Raises what
    ``admit`` does, ``InvalidInput`` if it is no JSON, and ``RateLimited``.
    """
    gateway = gateway_of(request)
    if SNS_TYPE in request.headers and "authorization" not in request.headers:
        return await _from_topic(request, gateway)
    sender = await _authenticate(request, gateway)
    await _limit(gateway, sender)
    return sender, _json(await request.body())


async def _limit(gateway: Gateway, sender: str, count: int = 0) -> None:
    if wait_s := await gateway.notices.take(sender, count):
        raise RateLimited(f"More records come than are accepted: send this again in {wait_s:.1f} s.", wait_s)


async def _authenticate(request: Request, gateway: Gateway) -> str:
    """Accept the webhook's token, or a key with the scope ingest within its rate limit; return who it is."""
    # MinIO sends its token as configured, with or without "Bearer".
    given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if gateway.webhook_token and hmac.compare_digest(given.encode(), gateway.webhook_token.encode()):
        return WEBHOOK
    caller = await gateway.access.admit(request.headers, Scope.INGEST, address_of(request))
    if caller.sees_everything:
        raise Unauthenticated(
            "A store must show the token: send 'Authorization: Bearer TOKEN' with VISUALSEARCH_WEBHOOK_TOKEN's value."
        )
    return f"owner {caller.owner}"


async def _from_topic(request: Request, gateway: Gateway) -> tuple[str, object]:
    """Accept a message that SNS has signed, of a topic that an operator named."""
    if gateway.topics is None:
        raise Unauthenticated("Messages of SNS are accepted of the topics in VISUALSEARCH_SNS_TOPICS; it names none.")
    address = address_of(request)
    await _limit(gateway, f"address {address}", 1)
    envelope = _json(await _read(request))
    try:
        if not isinstance(envelope, dict):
            raise Unauthenticated("This is no message of SNS: send it as SNS delivered it.")
        message = await gateway.topics.open(envelope)
    except Unauthenticated:
        await gateway.access.count_failure(address)
        raise
    sender = f"topic {message.topic}"
    await _limit(gateway, sender)
    return sender, _json(message.text.encode()) if message.text else {"Records": []}


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_MESSAGE_BYTES:
            raise InvalidInput(f"A message of SNS has at most {MAX_MESSAGE_BYTES} bytes: send it as SNS delivered it.")
    return bytes(body)


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"The body is no JSON: {error}.") from None
