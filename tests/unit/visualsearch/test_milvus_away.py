"""The Milvus adapter during and after an outage."""

import asyncio
from pathlib import Path

import grpc
import pytest
from pymilvus.client import connection_manager
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from tests.eventually import eventually
from visualsearch.adapters.milvus.vectors import MilvusVectors
from visualsearch.domain.errors import Unavailable

CONFIG = Path(__file__).parents[3] / "milvus" / "collection.yaml"
SOON_S = 5.0
"""Far below the deadline of a call, so that waiting for that would be seen."""


class Milvus(milvus_pb2_grpc.MilvusServiceServicer):
    """A server that can be connected to and knows one collection."""

    async def Connect(self, request, context):  # noqa: N802 - Milvus' own name
        return milvus_pb2.ConnectResponse(identifier=1)

    async def ShowCollections(self, request, context):  # noqa: N802
        return milvus_pb2.ShowCollectionsResponse(collection_names=["one"])


async def started(port):
    server = grpc.aio.server()
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(Milvus(), server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, bound


@pytest.fixture
async def vectors_and_port():
    server, port = await started(0)
    vectors = MilvusVectors(f"http://127.0.0.1:{port}", "", "", CONFIG, 60.0)
    assert await vectors.collections() == ["one"]
    await server.stop(None)
    yield vectors, port
    await vectors.close()


async def refused(vectors):
    with pytest.raises(Unavailable):
        await asyncio.wait_for(vectors.collections(), SOON_S)


async def test_every_call_fails_at_once_while_milvus_is_down(vectors_and_port, monkeypatch):
    monkeypatch.setattr(connection_manager, "IDLE_THRESHOLD_SECONDS", 0.0)  # 30 s have gone by, say
    vectors, _ = vectors_and_port
    for _ in range(3):
        await asyncio.gather(*(refused(vectors) for _ in range(4)))


async def test_milvus_is_used_again_soon_after_an_outage(vectors_and_port, monkeypatch):
    monkeypatch.setattr(connection_manager, "IDLE_THRESHOLD_SECONDS", 0.0)
    vectors, port = vectors_and_port
    for _ in range(3):
        await refused(vectors)
        await asyncio.sleep(1)  # a client in use asks now and then, so that its waits grow
    server, _ = await started(port)

    async def found():
        return await asyncio.wait_for(vectors.collections(), SOON_S) == ["one"]

    await eventually(found, within_s=SOON_S, every_s=0.1, errors=Unavailable)
    await server.stop(None)
