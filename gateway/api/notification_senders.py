"""Authenticates the senders of an object store's notifications: by token, by API key, or as a topic of Amazon SNS."""

from __future__ import annotations

import hmac
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import orjson

from gateway.api.dependencies import address_of, gateway_of, port_of
from gateway.api.request_bodies import read_body
from gateway.process.limited_connection import CHARGED
from visualsearch.domain.access import Scope
from visualsearch.domain.errors import InvalidInput, RateLimited, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import Request

    from gateway.limits.caller_limits import Account
    from gateway.service import Gateway
    from visualsearch.ports import TopicVerifier

WEBHOOK = "webhook"
"""Who an object store is that shows the token. An owner is called otherwise, since its name begins with ``owner``."""
SNS_TYPE = "x-amz-sns-message-type"
"""A header of every message of SNS."""
MAX_MESSAGE_BYTES = 2**19
"""SNS sends messages of up to 256 KB, and quotes in them take two bytes. A hundred of S3's records have 100 KB."""


@asynccontextmanager
async def receive(request: Request) -> AsyncIterator[tuple[str, object]]:
    """Return who sent a notification, and its JSON. The request is counted as in progress while the block runs.

    Nothing is read of who shows neither a token nor a key, but messages of SNS, which can show none. Raises what
    ``admit`` does, ``RequestTooLarge``, ``InvalidInput`` if it is no JSON, and ``RateLimited``.
    """
    gateway = gateway_of(request)
    if SNS_TYPE in request.headers and "authorization" not in request.headers:
        topics = gateway.topics
        if topics is None:
            raise Unauthenticated(
                "Messages of SNS are accepted of the topics in VISUALSEARCH_SNS_TOPICS; it names none."
            )
        await _limit(gateway, f"address {address_of(request)}", 1)
        with gateway.limits.request("", address_of(request), port_of(request)) as account:
            yield await _from_topic(request, gateway, topics, account)
        return
    owner = await _authenticate(request, gateway)
    sender = f"owner {owner}" if owner else WEBHOOK
    # A store may open a connection for each notification, also from this machine: all of them count together.
    line = "" if owner else WEBHOOK
    with gateway.limits.request(owner, address_of(request), port_of(request), line) as account:
        request.scope[CHARGED] = True
        await _limit(gateway, sender)
        yield sender, _json(await _read(request, account))


async def _limit(gateway: Gateway, sender: str, count: int = 0) -> None:
    if wait_s := await gateway.notices.take(sender, count):
        raise RateLimited(f"More records come than are accepted: send this again in {wait_s:.1f} s.", wait_s)


async def _authenticate(request: Request, gateway: Gateway) -> str:
    """Accept the webhook's token, or a key with the scope ingest within its rate limit.

    Return the owner of the key; empty for the token.
    """
    # MinIO sends its token as configured, with or without "Bearer".
    given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if gateway.webhook_token and hmac.compare_digest(given.encode(), gateway.webhook_token.encode()):
        return ""
    caller = await gateway.access.admit(request.headers, Scope.INGEST, address_of(request))
    if caller.sees_everything:
        raise Unauthenticated(
            "A store must show the token: send 'Authorization: Bearer TOKEN' with VISUALSEARCH_WEBHOOK_TOKEN's value."
        )
    return caller.owner


async def _from_topic(
    request: Request, gateway: Gateway, topics: TopicVerifier, account: Account
) -> tuple[str, object]:
    """Accept a message that SNS has signed, of a topic that an operator named."""
    envelope = _json(await _read(request, account))
    try:
        if not isinstance(envelope, dict):
            raise Unauthenticated("This is no message of SNS: send it as SNS delivered it.")
        message = await topics.open(envelope)
    except Unauthenticated:
        await gateway.access.count_failure(address_of(request))
        raise
    request.scope[CHARGED] = True
    sender = f"topic {message.topic}"
    await _limit(gateway, sender)
    return sender, _json(message.text.encode()) if message.text else {"Records": []}


async def _read(request: Request, account: Account) -> bytes:
    return await read_body(request, account, MAX_MESSAGE_BYTES, "send notifications of fewer records")


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"The body is no JSON: {error}.") from None
