"""Lists a bucket, whatever its keys are called.

obstore refuses a whole page of a listing if one key in it is no clean path, such as ``a//b.jpg`` or ``./x``. Other
programs write such keys, and one of them would hide up to 999 pictures from every walk.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

import httpx

from visualsearch.domain.errors import NotFound, Unavailable
from visualsearch.domain.indexing import ObjectInfo

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

PAGE = 1000
"""The most keys that S3 lists at once."""
SERVER = "The object store"


class BucketListing:
    """Lists one bucket, with keys as they are.

    ``url`` is the bucket's address, ``trusted`` what its certificate must come from. ``transport`` replaces the network
    in tests.
    """

    def __init__(
        self,
        url: str,
        auth: httpx.Auth,
        timeout_s: float,
        trusted: ssl.SSLContext | bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url
        self._auth = auth
        self._timeout_s = timeout_s
        self._trusted = trusted
        self._transport = transport

    async def pages(self, prefix: str, after: str) -> AsyncGenerator[list[ObjectInfo], None]:
        """Yield the objects under a prefix whose key sorts after ``after``, in pages, in the store's own order.

        Raises ``NotFound`` if there is no such bucket, and ``Unavailable``.
        """
        asked = {"list-type": "2", "encoding-type": "url", "max-keys": str(PAGE), "prefix": prefix}
        position = {"start-after": after}
        async with self._client() as client:
            while True:
                page = _Page(await self._get(client, asked | position))
                if page.objects:
                    yield page.objects
                following = page.following()
                if following == position:
                    raise Unavailable(SERVER, "its listing does not go on")
                if not following:
                    return
                position = following

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            auth=self._auth, verify=self._trusted, timeout=self._timeout_s, transport=self._transport
        )

    async def _get(self, client: httpx.AsyncClient, asked: dict[str, str]) -> bytes:
        # Written by hand, because httpx encodes a query as forms do, and the signature demands percents.
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in asked.items() if value)
        address = f"{self._url}?{query}"
        try:
            answer = await client.get(address)
        except httpx.TransportError:  # once more, as obstore does it for other calls
            answer = await client.get(address)
        return _body(answer)


class _Page:
    """One page of a listing, out of S3's XML."""

    def __init__(self, xml: bytes) -> None:
        try:
            # Entities cannot grow without bounds: expat limits how much they may amplify a document.
            root = ElementTree.fromstring(xml)  # noqa: S314 - of our own object store
        except ElementTree.ParseError as error:
            raise Unavailable(SERVER, f"its listing cannot be read: {error}") from None
        self._fields = _fields(root)
        self._encoded = self._fields.get("EncodingType") == "url"
        entries = (_fields(child) for child in root if _name(child) == "Contents")
        self.objects = [self._object(entry) for entry in entries]

    def _object(self, entry: dict[str, str]) -> ObjectInfo:
        key = entry["Key"]
        return ObjectInfo(
            unquote_plus(key) if self._encoded else key,
            int(entry.get("Size", 0)),
            entry.get("ETag", "").strip('"'),
            datetime.fromisoformat(entry["LastModified"]),
        )

    def following(self) -> dict[str, str]:
        """Return where the next page begins; nothing after the last page."""
        if self._fields.get("IsTruncated") != "true":
            return {}
        if self.objects:  # not the token, which some stores make of the key without encoding it
            return {"start-after": self.objects[-1].key}
        return {"continuation-token": self._fields.get("NextContinuationToken", "")}


def _fields(element: ElementTree.Element) -> dict[str, str]:
    """Return the texts inside an element by their names, without the namespace, which not every store gives."""
    return {_name(child): child.text or "" for child in element}


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _body(answer: httpx.Response) -> bytes:
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise NotFound("The object store has no such bucket: check its name.")
    if answer.status_code != httpx.codes.OK:
        raise Unavailable(SERVER, f"listing the bucket gave {answer.status_code}: {answer.text[:200]}")
    return answer.content
