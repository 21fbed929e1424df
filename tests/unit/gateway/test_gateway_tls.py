"""The gateway's gRPC by TLS: a renewed certificate, and callers that must show one."""

from dataclasses import replace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from compose.certificates import Certificates
from gateway.grpc.server import serve
from tests.unit.gateway.test_gateway_grpc import free_address
from tests.unit.serving import Serving
from visualsearch.tls import ClientTLS

OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


@pytest.fixture
def certificates(tmp_path):
    certificates = Certificates(tmp_path / "tls")
    certificates.ensure()
    return certificates


async def health(address, tls=None):
    """Ask over a connection of its own; return an error's code."""
    channel = grpc.aio.insecure_channel(address)
    if tls:
        channel = grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(*tls.pem()), options=OWN_CONNECTION)
    async with channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return answer.status


SERVING, REFUSED = health_pb2.HealthCheckResponse.SERVING, grpc.StatusCode.UNAVAILABLE


async def test_only_tls_with_the_right_authority_is_answered(certificates, tmp_path):
    other = Certificates(tmp_path / "other")
    other.ensure()
    address = free_address()
    async with Serving() as serving, serve(serving.gateway, address, 1, certificates.server("gateway")):
        assert await health(address, ClientTLS(certificates.ca)) == SERVING
        assert await health(address, ClientTLS(other.ca)) == REFUSED
        assert await health(address) == REFUSED


async def test_callers_show_a_certificate_where_they_must(certificates, tmp_path):
    other = Certificates(tmp_path / "other")
    other.ensure()
    address = free_address()
    tls = replace(certificates.server("gateway"), client_ca=certificates.ca)
    async with Serving() as serving, serve(serving.gateway, address, 1, tls):
        assert await health(address, certificates.client) == SERVING
        assert await health(address, ClientTLS(certificates.ca)) == REFUSED
        assert await health(address, ClientTLS(certificates.ca, other.file("client"))) == REFUSED


async def test_a_renewed_certificate_is_shown_to_new_connections(tmp_path):
    before, after = Certificates(tmp_path / "before"), Certificates(tmp_path / "after")
    for one in (before, after):
        one.ensure()
    address = free_address()
    shown = before.server("gateway")
    async with Serving() as serving, serve(serving.gateway, address, 1, shown):
        assert await health(address, ClientTLS(before.ca)) == SERVING
        after.file("gateway").replace(shown.certificate)
        assert await health(address, ClientTLS(after.ca)) == SERVING
        assert await health(address, ClientTLS(before.ca)) == REFUSED
        shown.certificate.write_text("not a certificate")
        assert await health(address, ClientTLS(after.ca)) == SERVING, "the last good one is kept"
