"""gRPC on fakes. Tests that need servers are in tests/integration/test_grpc.py."""

import hashlib
import socket

import grpc
import numpy as np
import pytest

from gateway.grpc import visualsearch_pb2 as pb
from gateway.grpc import visualsearch_pb2_grpc as pb_grpc
from gateway.grpc.server import serve
from tests.pictures import jpeg
from tests.unit.serving import RELEASE, Serving
from visualsearch.domain.images import Visibility

KEYS = ",".join(f"{owner}:read:{hashlib.sha256(owner.encode()).hexdigest()}" for owner in ("ada", "bob"))


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


async def stub_of(serving):
    address = free_address()
    async with serving, serve(serving.gateway, address, 1), grpc.aio.insecure_channel(address) as channel:
        yield serving, pb_grpc.VisualSearchStub(channel)


@pytest.fixture
async def open_gateway():
    async for both in stub_of(Serving()):
        yield both


async def code(call):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    assert len(refused.value.details()) > 20
    return refused.value.code()


async def test_an_embedding_finds_its_picture_with_its_similarity(open_gateway):
    serving, stub = open_gateway
    image, other = await serving.index(jpeg(1)), await serving.index(jpeg(2))
    vector = await stub.Embed(pb.EmbedRequest(image_bytes=jpeg(1)))
    assert vector.release == RELEASE.name
    assert np.linalg.norm(vector.values) == pytest.approx(1, abs=1e-5)
    top = await stub.Search(pb.SearchRequest(vector=vector, k=2))
    assert list(top.ids) == [image, other]
    assert top.distances[0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("length", [1e-30, 7.0, 3e38])
async def test_a_vector_of_any_length_is_normalised(open_gateway, length):
    serving, stub = open_gateway
    await serving.index(jpeg(1))
    vector = pb.Vector(values=[length] + [0.0] * 255)
    top = await stub.Search(pb.SearchRequest(vector=vector, k=1))
    assert -1 <= top.distances[0] <= 1


async def test_a_deleted_image_is_not_found(open_gateway):
    serving, stub = open_gateway
    image = await serving.index(jpeg(1))
    await serving.image_repository.delete(image)
    vector = await stub.Embed(pb.EmbedRequest(image_bytes=jpeg(1)))
    assert not (await stub.Search(pb.SearchRequest(vector=vector, k=5))).ids


async def test_images_below_the_lowest_score_are_left_out(open_gateway):
    serving, stub = open_gateway
    image, other = await serving.index(jpeg(1)), await serving.index(jpeg(2))
    vector = await stub.Embed(pb.EmbedRequest(image_bytes=jpeg(1)))
    above = await stub.Search(pb.SearchRequest(vector=vector, k=5, min_score=0.9))
    assert list(above.ids) == [image]
    without = await stub.Search(pb.SearchRequest(vector=vector, k=5))
    assert list(without.ids) == [image, other]


@pytest.mark.parametrize("score", [1.5, -1.5, float("nan")])
async def test_a_lowest_score_out_of_range_is_an_invalid_argument(open_gateway, score):
    _, stub = open_gateway
    vector = pb.Vector(values=[1.0] * 256)
    call = stub.Search(pb.SearchRequest(vector=vector, min_score=score))
    assert await code(call) is grpc.StatusCode.INVALID_ARGUMENT


NO_VECTORS = [[], [1.0] * 255, [1.0] * 257, [0.0] * 256, [float("nan")] * 256, [float("inf")] * 256]


@pytest.mark.parametrize("values", NO_VECTORS)
async def test_a_malformed_vector_is_an_invalid_argument(open_gateway, values):
    _, stub = open_gateway
    call = stub.Search(pb.SearchRequest(vector=pb.Vector(values=values), k=5))
    assert await code(call) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "request_",
    [
        pb.EmbedRequest(),
        pb.EmbedRequest(image_bytes=b"text"),
        pb.EmbedRequest(image_bytes=jpeg(1), bbox=pb.BBox(x1=5, y1=5, x2=5, y2=9)),
        pb.EmbedRequest(image_bytes=jpeg(1), bbox=pb.BBox(x1=-5, y1=0, x2=5, y2=9)),
        pb.EmbedRequest(image_bytes=jpeg(1), bbox=pb.BBox(x1=0, y1=0, x2=2**31 - 1, y2=9)),
    ],
)
async def test_a_bad_picture_or_box_is_an_invalid_argument(open_gateway, request_):
    _, stub = open_gateway
    assert await code(stub.Embed(request_)) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_over_21_mb_is_refused(open_gateway):
    _, stub = open_gateway
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Embed(pb.EmbedRequest(image_bytes=bytes(22 * 2**20)))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_failures_of_servers_have_distinct_statuses(open_gateway):
    serving, stub = open_gateway
    serving.encoder.overloaded = True
    assert await code(stub.Embed(pb.EmbedRequest(image_bytes=jpeg(1)))) is grpc.StatusCode.RESOURCE_EXHAUSTED
    serving.encoder.down = True
    assert await code(stub.Embed(pb.EmbedRequest(image_bytes=jpeg(1)))) is grpc.StatusCode.UNAVAILABLE


async def test_a_vector_of_another_release_is_refused(open_gateway):
    _, stub = open_gateway
    request = pb.SearchRequest(vector=pb.Vector(values=[1.0] * 256, release="other"), k=5)
    assert await code(stub.Search(request)) is grpc.StatusCode.FAILED_PRECONDITION


async def test_keys_come_as_metadata_and_private_images_stay_their_owner_s():
    async for serving, stub in stub_of(Serving(api_keys=KEYS)):
        image = await serving.index(jpeg(1), owner="ada", visibility=Visibility.PRIVATE)
        request = pb.EmbedRequest(image_bytes=jpeg(1))
        assert await code(stub.Embed(request)) is grpc.StatusCode.UNAUTHENTICATED
        vector = await stub.Embed(request, metadata=[("authorization", "Bearer ada")])
        search = pb.SearchRequest(vector=vector, k=5)
        assert list((await stub.Search(search, metadata=[("authorization", "Bearer ada")])).ids) == [image]
        assert not (await stub.Search(search, metadata=[("x-api-key", "bob")])).ids


async def test_loopback_callers_are_not_rate_limited():
    async for _, stub in stub_of(Serving(rate_limit=1)):
        for _ in range(5):
            assert len((await stub.Embed(pb.EmbedRequest(image_bytes=jpeg(1)))).values) == 256
