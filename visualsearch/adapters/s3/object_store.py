"""The object store, accessed by S3."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import httpx
import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store
from typing_extensions import override

from visualsearch.adapters.s3.listing import BucketListing
from visualsearch.adapters.s3.metadata import from_attributes, to_attributes
from visualsearch.adapters.s3.signature import SignatureV4
from visualsearch.domain.errors import ImageTooLarge, InvalidInput, NotFound, Unavailable
from visualsearch.domain.indexing import ObjectMetadata, StoredObject
from visualsearch.domain.object_keys import canonical_key, corpus_key
from visualsearch.ports import ObjectStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from obstore.store import ClientConfig

    from visualsearch.domain.indexing import ObjectInfo
    from visualsearch.tls import ClientTLS

PROBE_KEY = ".visualsearch/probe"


class S3ObjectStore(ObjectStore):
    """Objects of one bucket; a uri is ``s3://<bucket>/<key>`` with the key percent-encoded.

    If ``url`` begins with https://, the authority of ``tls`` is trusted beside the public ones. Every call ends within
    ``timeout_s`` seconds or raises ``Unavailable``.
    """

    def __init__(
        self,
        url: str,
        bucket: str,
        region: str,
        access_key: str,
        secret_key: str,
        timeout_s: float,
        tls: ClientTLS | None = None,
    ) -> None:
        self.bucket = bucket
        self._timeout_s = timeout_s
        self._trusted = tls.context(trust_public=True) if tls else True
        self._store = S3Store(
            bucket,
            endpoint=url,
            region=region,
            access_key_id=access_key,
            secret_access_key=secret_key,
            virtual_hosted_style_request=False,
            client_options=client_options(url, timeout_s, tls),
            retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=timeout_s)},
        )
        signature = SignatureV4(access_key, secret_key, region)
        self._listing = BucketListing(f"{url.rstrip('/')}/{bucket}", signature, timeout_s, self._trusted)

    @override
    async def ensure_bucket(self) -> None:
        """Create the bucket; no-op if it exists.

        obstore cannot create buckets, so this sends a presigned PUT request for the bucket.
        """
        async with self._deadline():
            signed = await obstore.sign_async(self._store, "PUT", "", timedelta(minutes=1))
            async with httpx.AsyncClient(verify=self._trusted) as client:
                answer = await client.put(signed)
            if answer.status_code not in {200, 409}:
                raise Unavailable("The object store", f"creating bucket {self.bucket} gave {answer.status_code}")

    @override
    async def put(
        self,
        key: str,
        data: bytes,
        content_type: str = "application/octet-stream",
        metadata: ObjectMetadata | None = None,
    ) -> str:
        attributes = {"Content-Type": content_type, **to_attributes(metadata)}
        async with self._deadline():
            result = await obstore.put_async(self._store, canonical_key(key), data, attributes=attributes)
        return str(result["e_tag"] or "").strip('"')

    @override
    async def get(self, key: str, max_bytes: int) -> bytes:
        return (await self.fetch(key, max_bytes)).data

    @override
    async def fetch(self, key: str, max_bytes: int) -> StoredObject:
        async with self._deadline():
            result = await obstore.get_async(self._store, canonical_key(key))
            size = result.meta["size"]
            if size > max_bytes:
                raise ImageTooLarge(f"The file has {size} bytes; {max_bytes} are the limit.")
            etag = (result.meta["e_tag"] or "").strip('"')
            return StoredObject(bytes(await result.bytes_async()), etag, from_attributes(result.attributes))

    @override
    async def metadata(self, key: str) -> ObjectMetadata | None:
        async with self._deadline():
            result = await obstore.get_async(self._store, canonical_key(key), options={"head": True})
            return from_attributes(result.attributes)

    @override
    async def etag(self, key: str) -> str:
        async with self._deadline():
            meta = await obstore.head_async(self._store, canonical_key(key))
        return (meta["e_tag"] or "").strip('"')

    @override
    async def delete(self, key: str) -> None:
        try:
            async with self._deadline():
                await obstore.delete_async(self._store, canonical_key(key))
        except NotFound:
            return

    @override
    async def walk(self, prefix: str = "", after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        async with aclosing(self._listing.pages(prefix, after)) as pages:
            while True:
                async with self._deadline():
                    page = await anext(pages, None)
                if page is None:
                    return
                yield page

    @override
    async def check(self) -> None:
        await self.put(PROBE_KEY, b"probe")

    @override
    async def close(self) -> None:
        """Do nothing: the client closes its idle connections itself."""

    @override
    def uri(self, key: str) -> str:
        return uri_of(self.bucket, key)

    @override
    def uri_prefix(self, prefix: str) -> str:
        return uri_prefix_of(self.bucket, prefix)

    @override
    def key(self, uri: str) -> str:
        return key_of(self.bucket, uri)

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        """Bound a call in time; translate the client's errors."""
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except FileNotFoundError as error:
            raise NotFound(f"The object store has no such object: {str(error)[:200]}") from None
        except (BaseError, TimeoutError, httpx.HTTPError, OSError) as error:
            raise Unavailable("The object store", str(error)[:200]) from None


def client_options(url: str, timeout_s: float, tls: ClientTLS | None) -> ClientConfig:
    """Return the options of obstore's client. It can verify a server's certificate, but not show one."""
    options: ClientConfig = {"allow_http": url.startswith("http://"), "timeout": f"{int(timeout_s * 1000)}ms"}
    if tls:
        options["root_certificate"] = tls.ca.read_bytes()
    return options


def uri_of(bucket: str, key: str) -> str:
    """Return the uri of a picture's key; raises ``InvalidInput`` if no picture of the corpus may have the key."""
    return f"s3://{bucket}/{quote(corpus_key(key, uploads=True))}"


def uri_prefix_of(bucket: str, prefix: str) -> str:
    """Return what the uris of all keys with this prefix begin with."""
    return f"s3://{bucket}/{quote(prefix)}"


def key_of(bucket: str, uri: str) -> str:
    """Return the key of a picture's uri; raises ``InvalidInput`` for any other uri, or another spelling of one."""
    prefix = f"s3://{bucket}/"
    if not uri.startswith(prefix):
        raise InvalidInput(f"{uri!r} is no object of the bucket {bucket}.")
    key = unquote(uri.removeprefix(prefix))
    if uri_of(bucket, key) != uri:
        raise InvalidInput(f"{uri!r} is another spelling of {uri_of(bucket, key)!r}, which names the object.")
    return key
