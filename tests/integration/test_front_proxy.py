"""The front proxy as compose configures it: the real Envoy with a temporary certificate, in front of a real gateway."""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys

import grpc
import httpx
import pytest
import uvicorn
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.grpc import visualsearch_pb2 as pb
from gateway.grpc import visualsearch_pb2_grpc as pb_grpc
from gateway.grpc.server import serve
from tests.conftest import missing
from tests.eventually import eventually
from tests.pictures import jpeg
from tests.server_binaries import ROOT, envoy
from tests.unit.serving import Serving, assert_problem
from visualsearch.tls import ServerTLS

CONFIG = ROOT / "compose" / "envoy" / "envoy.yaml"
PROXY = yaml.safe_load((ROOT / "compose" / "docker-compose.yml").read_text())["services"]["proxy"]
TOO_LARGE = 22 * 2**20
READY_S = 20
FOUND_S = 30
"""Less than the minute after which Envoy would look again by itself where nobody calls."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def internal(tmp_path_factory):
    """What compose/make-certificates makes."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def make_certificates(folder):
    if not shutil.which("openssl"):
        missing("openssl")
    command = [ROOT / "compose" / "make-certificates"]
    subprocess.run(command, env={**os.environ, "CERTIFICATES_DIR": str(folder)}, check=True)
    return folder


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """What compose/make-secrets makes for the name localhost."""
    if not shutil.which("openssl"):
        missing("openssl")
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run([ROOT / "compose" / "make-secrets"], env={**os.environ, "SECRETS_DIR": str(folder)}, check=True)
    return folder


class Front:
    """Envoy with compose's own configuration, its addresses and files replaced."""

    def __init__(self, folder, secrets, internal, gateway, gateway_grpc):
        self.http, self.https, self.admin = free_port(), free_port(), free_port()
        text = CONFIG.read_text().replace("/run/secrets", str(secrets)).replace("0.0.0.0", "127.0.0.1")
        text = text.replace("/run/tls", str(internal / "proxy"))
        ports = {10080: self.http, 10443: self.https, 9901: self.admin, 8080: gateway, 8081: gateway_grpc}
        text = re.sub(r"port_value: (\d+)", lambda found: f"port_value: {ports[int(found[1])]}", text)
        self.config = folder / "envoy.yaml"
        self.config.write_text(text.replace("{address: gateway,", "{address: 127.0.0.1,"))
        self.trust = ssl.create_default_context(cafile=secrets / "tls_certificate")

    async def __aenter__(self):
        words = ["-c", str(self.config), "--disable-hot-restart", "--log-level", "error", "--concurrency", "1"]
        self.process = await asyncio.create_subprocess_exec(envoy(), *words)
        try:
            await eventually(lambda: asyncio.to_thread(self.healthy), READY_S, every_s=0.1)
        except AssertionError:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_):
        self.process.terminate()
        await self.process.wait()

    def healthy(self):
        """Run the health check that compose gives the container."""
        command = [word.replace("9901", str(self.admin)).replace("$$", "$") for word in PROXY["healthcheck"]["test"]]
        assert command.pop(0) == "CMD"
        return not subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode

    def client(self, source="127.0.0.1"):
        transport = httpx.AsyncHTTPTransport(verify=self.trust, local_address=source)
        return httpx.AsyncClient(transport=transport, base_url=f"https://localhost:{self.https}", timeout=30)


@contextlib.asynccontextmanager
async def listening(serving, internal, port, grpc_port):
    """Serve a gateway over fakes on real ports, as its processes do; only Envoy is believed what it forwards."""
    config = uvicorn.Config(serving.app, "127.0.0.1", port, log_config=None, forwarded_allow_ips="127.0.0.1/32")
    tls = ServerTLS(internal / "gateway" / "tls.crt", internal / "gateway" / "tls.key")
    config.ssl_context_factory = lambda *_: tls.context()
    server = uvicorn.Server(config)
    async with serving, serve(serving.gateway, f"127.0.0.1:{grpc_port}", 1, tls):
        task = asyncio.create_task(server.serve())
        await eventually(lambda: server.started)
        try:
            yield
        finally:
            server.should_exit = True
            await task


@pytest.fixture(scope="module")
async def front(tmp_path_factory, certificate, internal):
    if sys.platform != "linux":
        missing("Linux")
    serving = Serving(rate_limit=1000, rate_limit_loopback=True)
    ports = free_port(), free_port()
    async with (
        listening(serving, internal, *ports),
        Front(tmp_path_factory.mktemp("front"), certificate, internal, *ports) as front,
    ):
        front.serving = serving
        yield front


async def test_plain_http_is_sent_to_https(front):
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://localhost:{front.http}/docs?x=1", follow_redirects=False)
    assert answer.status_code == 301
    assert answer.headers["location"].startswith("https://localhost")
    assert answer.headers["location"].endswith("/docs?x=1")


async def test_a_search_goes_through_by_tls(front):
    picture = jpeg(3)
    await front.serving.index(picture)
    async with front.client() as client:
        answer = await client.post("/search", files={"image": ("x.jpg", picture)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["results"][0]["score"] == pytest.approx(1, abs=1e-3)
    assert "max-age" in answer.headers["strict-transport-security"]
    assert answer.headers["x-request-id"]


async def test_a_body_that_is_too_large_gets_the_gateways_own_answer(front):
    async with front.client() as client:
        answer = await client.post("/search", files={"image": ("x.jpg", bytes(TOO_LARGE))})
    assert_problem(answer, 413)
    assert "MB" in answer.json()["detail"]


async def test_metrics_are_not_served_to_the_outside(front):
    async with front.client() as client:
        assert_problem(await client.get("/metrics"), 404)
        assert (await client.get("/health")).json() == {"ok": True}


async def test_an_escaped_slash_cannot_get_around_a_rule(front):
    async with front.client() as client:
        escaped, plain = await client.get("/static/..%2fmetrics"), await client.get("/static/../metrics")
    assert_problem(escaped, 400)
    assert_problem(plain, 404)
    assert "visualsearch_" not in escaped.text + plain.text


async def test_a_caller_is_limited_by_its_own_address_whatever_it_claims(tmp_path, certificate, internal):
    ports = free_port(), free_port()
    serving = Serving(rate_limit=1, rate_limit_loopback=True)
    async with (
        listening(serving, internal, *ports),
        Front(tmp_path, certificate, internal, *ports) as front,
        front.client("127.0.0.2") as one,
        front.client("127.0.0.3") as other,
    ):
        first = await one.get("/images/999", headers={"X-Forwarded-For": "192.0.2.1"})
        again = await one.get("/images/999", headers={"X-Forwarded-For": "192.0.2.2"})
        elsewhere = await other.get("/images/999")
    assert (first.status_code, again.status_code, elsewhere.status_code) == (404, 429, 404)


async def test_grpc_goes_through_the_same_port(front, certificate):
    credentials = grpc.ssl_channel_credentials((certificate / "tls_certificate").read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{front.https}", credentials) as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        vector = await pb_grpc.VisualSearchStub(channel).Embed(pb.EmbedRequest(image_bytes=jpeg(4)))
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert len(vector.values) == 256


async def test_a_gateway_that_is_down_gives_a_problem_document_and_is_used_once_it_is_up(
    tmp_path, certificate, internal
):
    ports = free_port(), free_port()
    async with Front(tmp_path, certificate, internal, *ports) as front, front.client() as client:
        assert_problem(await client.get("/health"), 503)

        async def answers():
            return (await client.get("/health")).status_code == 200

        async with listening(Serving(), internal, *ports):
            assert await eventually(answers, FOUND_S, every_s=0.1)


async def test_a_gateway_with_a_certificate_of_another_authority_is_not_used(tmp_path, certificate, internal):
    ports = free_port(), free_port()
    stranger = make_certificates(tmp_path / "stranger")
    front = Front(tmp_path, certificate, internal, *ports)
    async with listening(Serving(), stranger, *ports), front, front.client() as client:
        assert_problem(await client.get("/health"), 503)


async def test_a_gateway_without_tls_is_not_used(tmp_path, certificate, internal):
    port = free_port()
    server = await asyncio.start_server(speak_plain_http, "127.0.0.1", port)
    front = Front(tmp_path, certificate, internal, port, free_port())
    async with server, front, front.client() as client:
        assert_problem(await client.get("/health"), 503)


async def speak_plain_http(reader, writer):
    await reader.read(1000)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    writer.close()
