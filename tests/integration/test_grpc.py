"""Embed and Search over gRPC, against the running gateway."""

import random

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from gateway.grpc import visualsearch_pb2 as pb
from gateway.grpc import visualsearch_pb2_grpc as pb_grpc
from tests.integration.test_rest import indexed
from tests.pictures import jpeg

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def channel(stack):
    with grpc.insecure_channel(f"127.0.0.1:{stack.gateway_grpc_port}") as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return pb_grpc.VisualSearchStub(channel)


def test_an_embedding_has_256_numbers_of_unit_length(stub):
    vector = stub.Embed(pb.EmbedRequest(image_bytes=jpeg(80)))
    assert len(vector.values) == 256
    assert np.linalg.norm(vector.values) == pytest.approx(1, abs=1e-4)


def test_a_box_changes_the_embedding(stub):
    whole = stub.Embed(pb.EmbedRequest(image_bytes=jpeg(80)))
    part = stub.Embed(pb.EmbedRequest(image_bytes=jpeg(80), bbox=pb.BBox(x1=0, y1=0, x2=100, y2=100)))
    assert np.dot(whole.values, part.values) < 0.99


def test_search_by_vector_finds_what_rest_finds(stub, api: httpx.Client):
    data = jpeg(random.randrange(10**6, 10**9))  # a picture that no other test has indexed
    image_id = indexed(api, data)
    top = stub.Search(pb.SearchRequest(vector=stub.Embed(pb.EmbedRequest(image_bytes=data)), k=5))
    assert top.ids[0] == image_id
    assert top.distances[0] == pytest.approx(1, abs=1e-3)
    assert list(top.distances) == sorted(top.distances, reverse=True)
    assert len(top.ids) == 5


@pytest.mark.parametrize("values", [[], [1.0] * 255, [0.0] * 256, [float("nan")] * 256, [float("inf")] * 256])
def test_a_malformed_vector_is_an_invalid_argument(stub, values):
    with pytest.raises(grpc.RpcError) as refused:
        stub.Search(pb.SearchRequest(vector=pb.Vector(values=values), k=5))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("k", [-1, 201, 2**31 - 1])
def test_a_bad_k_is_an_invalid_argument(stub, k):
    with pytest.raises(grpc.RpcError) as refused:
        stub.Search(pb.SearchRequest(vector=pb.Vector(values=[1.0] * 256), k=k))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_bad_picture_or_box_is_an_invalid_argument(stub):
    bad = [
        pb.EmbedRequest(image_bytes=b"text"),
        pb.EmbedRequest(),
        pb.EmbedRequest(image_bytes=jpeg(1), bbox=pb.BBox(x1=5, y1=5, x2=5, y2=9)),
        pb.EmbedRequest(image_bytes=jpeg(1), bbox=pb.BBox(x1=0, y1=0, x2=5000, y2=9)),
    ]
    for request in bad:
        with pytest.raises(grpc.RpcError) as refused:
            stub.Embed(request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_vector_of_another_release_is_refused(stub):
    with pytest.raises(grpc.RpcError) as refused:
        stub.Search(pb.SearchRequest(vector=pb.Vector(values=[1.0] * 256, release="another"), k=5))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_health_and_reflection_are_served(channel):
    health = health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest(service="visualsearch.v1.VisualSearch")
    )
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert "visualsearch.v1.VisualSearch" in ProtoReflectionDescriptorDatabase(channel).get_services()
