"""The listing of a bucket: the signature of its requests, and keys that are no clean paths."""

from datetime import UTC, datetime
from urllib.parse import parse_qs, quote_plus
from xml.sax.saxutils import escape

import httpx
import pytest

from visualsearch.adapters.s3.listing import BucketListing
from visualsearch.adapters.s3.signature import SignatureV4
from visualsearch.domain.errors import NotFound, Unavailable

ODD = ["a//b.jpg", "./x", "../x", "dot. ", "100%.jpg", "a+b c.jpg", "tab\t\x01.jpg", "back\\slash.jpg", "ü", "k" * 1024]


class Store:
    """A store that lists its keys as AWS does, ``page`` at a time."""

    def __init__(self, *keys, page=3, encodes=True):
        self.keys, self.page, self.encodes = sorted(keys), page, encodes
        self.answers = []
        self.asked = []

    def __call__(self, request):
        asked = {name: value[0] for name, value in parse_qs(request.url.query.decode()).items()}
        self.asked.append(asked)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        keys = [
            key for key in self.keys if key > asked.get("start-after", "") and key.startswith(asked.get("prefix", ""))
        ]
        return httpx.Response(200, text=self._xml(keys))

    def _xml(self, keys):
        shown = [quote_plus(key, safe="/") if self.encodes else escape(key) for key in keys[: self.page]]
        contents = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-11-27T10:00:00.000Z</LastModified>"
            f'<ETag>"abc"</ETag><Size>5</Size></Contents>'
            for key in shown
        )
        encoding = "<EncodingType>url</EncodingType>" if self.encodes else ""
        return (
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(len(keys) > self.page).lower()}</IsTruncated>{encoding}{contents}</ListBucketResult>"
        )


def listing_of(store):
    signature = SignatureV4("key", "secret", "us-east-1")
    return BucketListing("https://store/images", signature, 5.0, transport=httpx.MockTransport(store))


async def listed(store, prefix="", after=""):
    return [one async for page in listing_of(store).pages(prefix, after) for one in page]


def test_a_request_is_signed_as_in_the_example_of_awss_documentation():
    signature = SignatureV4(
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "us-east-1",
        lambda: datetime(2013, 5, 24, tzinfo=UTC),
    )
    request = httpx.Request("GET", "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J")
    signed = next(signature.auth_flow(request)).headers["authorization"]
    assert signed.endswith("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")


async def test_keys_that_are_no_clean_paths_are_listed_as_they_are():
    found = await listed(Store(*ODD))
    assert [one.key for one in found] == sorted(ODD)
    assert (found[0].size, found[0].etag, found[0].last_modified) == (5, "abc", datetime(2026, 11, 27, 10, tzinfo=UTC))


async def test_keys_of_a_store_that_does_not_encode_them_are_not_decoded():
    assert [one.key for one in await listed(Store("100%25+.jpg", encodes=False))] == ["100%25+.jpg"]


async def test_a_listing_may_begin_anywhere():
    store = Store("p/1", "p/2 +", "p/3", "q/1")
    assert [one.key for one in await listed(store, "p/", "p/1")] == ["p/2 +", "p/3"]


async def test_a_broken_connection_is_tried_once_more():
    store = Store("a.jpg")
    store.answers = [httpx.ReadError("reset")]
    assert [one.key for one in await listed(store)] == ["a.jpg"]
    store.answers = [httpx.ReadError("reset")] * 2
    with pytest.raises(httpx.TransportError):
        await listed(store)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(404, text="NoSuchBucket"), NotFound),
        (httpx.Response(403, text="AccessDenied"), Unavailable),
        (httpx.Response(200, text="<html>"), Unavailable),
    ],
)
async def test_an_answer_that_is_no_listing_is_an_error(answer, error):
    store = Store("a.jpg")
    store.answers = [answer]
    with pytest.raises(error):
        await listed(store)


async def test_a_listing_that_does_not_advance_ends_with_an_error():
    store = Store("a.jpg")
    stuck = "<r><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></r>"
    store.answers = [httpx.Response(200, text=stuck)] * 2
    with pytest.raises(Unavailable, match="does not go on"):
        await listed(store)
