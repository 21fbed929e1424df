"""A stack with `up --tls`: each link accepts whom it should, refuses others, and survives a renewal of certificates."""

import asyncio
import json
import re
import ssl
import subprocess
import sys
import threading
from contextlib import suppress
from urllib.parse import urlencode

import grpc
import httpx
import obstore
import orjson
import psycopg
import pytest
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc
from obstore.store import S3Store

from compose.certificates import Certificates
from compose.private_network import why_not
from tests.conftest import ROOT, Stack
from tests.deployment import compose
from tests.eventually import eventually_sync
from visualsearch.adapters.milvus.vectors import MilvusVectors
from visualsearch.adapters.seaweedfs.change_feed import SeaweedFSChangeFeed
from visualsearch.adapters.triton.encoder import TritonEncoder
from visualsearch.adapters.valkey.event_stream import ValkeyEventStream
from visualsearch.domain.errors import Unavailable
from visualsearch.tls import ClientTLS

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(bool(why_not()), reason="this kernel gives no network of its own"),
]
TIMEOUT_S = 3.0
TIGER = ROOT / "demo" / "queries" / "tiger.jpg"


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("encrypted") / "state")
    up = stack.command(
        "up", "--tls", "--detach", "--publish", "triton", "--publish", "milvus", "--publish", "seaweedfs"
    )
    assert up.returncode == 0, up.stdout + up.stderr
    yield stack
    stack.kill()  # nothing of it is needed again, and an orderly stop takes long
    stack.command("down")


@pytest.fixture(scope="module")
def settings(encrypted):
    return encrypted.settings()


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """An authority that nobody knows, with certificates of the same names."""
    certificates = Certificates(tmp_path_factory.mktemp("other") / "tls")
    certificates.ensure()
    return certificates


@pytest.fixture(scope="module")
def clients(settings, other):
    """The stack's own client, and clients with something wrong, by what it is."""
    ours = settings.client_tls
    return {
        "ours": ours,
        "trusts another authority": ClientTLS(other.ca, ours.certificate, ours.key),
        "shows nothing": ClientTLS(ours.ca),
        "shows a stranger's certificate": ClientTLS(ours.ca, other.file("client"), other.file("client")),
    }


MUTUAL = ("trusts another authority", "shows nothing", "shows a stranger's certificate")
"""Clients that are refused where both sides show a certificate."""


def context(tls, *protocols):
    made = tls.context()
    if protocols:
        made.set_alpn_protocols(protocols)
    return made


async def triton(settings, tls):
    encoder = TritonEncoder(settings.triton_grpc, settings.model_name, TIMEOUT_S, tls=tls)
    try:
        await encoder.check(1)
    finally:
        await encoder.close()


async def milvus(settings, tls):
    password = settings.milvus_password.get_secret_value()
    vectors = MilvusVectors(
        settings.milvus_uri, settings.milvus_user, password, settings.collection_config, TIMEOUT_S, tls
    )
    try:
        assert await vectors.aliased()
    finally:
        await vectors.close()


async def postgres(settings, tls):
    files = {"sslrootcert": tls.ca, "sslcert": tls.certificate or "none", "sslkey": tls.key or "none"}
    dsn = f"{settings.postgres_dsn.partition('?')[0]}?{urlencode({'sslmode': 'verify-full', **files})}"
    password = settings.postgres_password.get_secret_value()
    try:
        async with await psycopg.AsyncConnection.connect(dsn, password=password, connect_timeout=3) as connection:
            await connection.execute("SELECT 1")
    except psycopg.OperationalError as error:
        raise Unavailable("Postgres", str(error)) from None


async def valkey(settings, tls):
    password = settings.valkey_password.get_secret_value()
    events = ValkeyEventStream(settings.valkey_url, password, TIMEOUT_S, tls)
    try:
        await events.check()
    finally:
        await events.close()


async def change_log(settings, tls):
    changes = SeaweedFSChangeFeed(settings.s3_changes, settings.s3_bucket, TIMEOUT_S, tls)
    pages = changes.follow(0)
    try:
        await anext(pages)
    finally:
        await pages.aclose()
        await changes.close()


async def is_refused(call):
    try:
        await asyncio.wait_for(call, 3 * TIMEOUT_S)
    except (Unavailable, OSError):
        return True
    return False


LINKS = {one.__name__: one for one in (triton, milvus, postgres, valkey, change_log)}


@pytest.mark.parametrize("link", LINKS)
async def test_a_link_accepts_the_stacks_own_client_and_refuses_every_other(settings, clients, link):
    await LINKS[link](settings, clients["ours"])
    for name in MUTUAL:
        assert await is_refused(LINKS[link](settings, clients[name])), f"{link} accepts a client that {name}"


def test_the_object_store_shows_its_certificate_and_asks_for_a_key(settings, other):
    def store(authority):
        return S3Store(
            settings.s3_bucket,
            endpoint=settings.s3_url,
            region=settings.s3_region,
            access_key_id=settings.s3_access_key.get_secret_value(),
            secret_access_key=settings.s3_secret_key.get_secret_value(),
            virtual_hosted_style_request=False,
            client_options={"root_certificate": authority.read_bytes()},
            retry_config={"max_retries": 0},
        )

    obstore.put(store(settings.tls_ca_file), ".visualsearch/probe", b"probe")
    with pytest.raises(obstore.exceptions.GenericError):
        obstore.put(store(other.ca), ".visualsearch/probe", b"probe")


def test_the_gateway_shows_its_certificate(settings, clients, other):
    with httpx.Client(base_url=settings.url, verify=clients["shows nothing"].context()) as client:
        assert client.get("/ready").status_code == 200
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{settings.url}/ready", verify=ClientTLS(other.ca).context())
    address = f"127.0.0.1:{settings.gateway_grpc_port}"
    for authority, accepted in ((settings.tls_ca_file, True), (other.ca, False)):
        with grpc.secure_channel(address, grpc.ssl_channel_credentials(authority.read_bytes())) as channel:
            ask = health_pb2_grpc.HealthStub(channel).Check
            if accepted:
                assert ask(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S).status == 1
            else:
                with pytest.raises(grpc.RpcError):
                    ask(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)


def test_the_containers_check_of_the_gateway_passes(settings):
    command = compose()["services"]["gateway"]["healthcheck"]["test"]
    there = {"https://127.0.0.1:8080": settings.url, "/run/tls/ca.crt": str(settings.tls_ca_file)}
    code = re.sub("|".join(there), lambda found: there[found[0]], command[-1])
    checked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert command[:3] == ["CMD", "python", "-c"]
    assert not checked.returncode, checked.stderr


@pytest.fixture
def fronted(encrypted, tmp_path, unused_tcp_port_factory):
    """The address of a gateway that wants a certificate of its callers, as of a front proxy."""
    port = unused_tcp_port_factory()
    env = encrypted.env | {
        "VISUALSEARCH_GATEWAY_PORT": str(port),
        "VISUALSEARCH_GATEWAY_GRPC_PORT": str(unused_tcp_port_factory()),
        "VISUALSEARCH_GATEWAY_WORKERS": "1",
        "VISUALSEARCH_GATEWAY_TLS_CLIENT_CA_FILE": str(encrypted.home / "tls" / "ca.pem"),
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
    }
    with subprocess.Popen([sys.executable, "-m", "gateway"], env=env, cwd=ROOT) as process:
        yield f"https://127.0.0.1:{port}"
        process.terminate()  # a parent that is killed leaves its processes behind


def test_a_gateway_can_ask_its_callers_for_a_certificate(fronted, clients):
    def ask(name):
        return httpx.get(f"{fronted}/health", verify=clients[name].context())

    assert eventually_sync(lambda: ask("ours"), errors=httpx.ConnectError, every_s=0.2).status_code == 200
    for name in ("shows nothing", "shows a stranger's certificate"):
        with pytest.raises(httpx.TransportError):
            ask(name)


def published(encrypted):
    numbers = orjson.loads((encrypted.home / "ports.json").read_bytes())
    names = (
        "gateway",
        "gateway_grpc",
        "triton_http",
        "triton_grpc",
        "milvus",
        "postgres",
        "valkey",
        "s3",
        "weed_filer",
    )
    return {name: numbers[name] for name in names} | {"filer's changes": numbers["weed_filer"] + 10_000}


def test_no_port_answers_plain_text(encrypted):
    for name, port in published(encrypted).items():
        with suppress(httpx.TransportError):
            answer = httpx.get(f"http://127.0.0.1:{port}/health", timeout=TIMEOUT_S)
            pytest.fail(f"{name} answers {answer.status_code} to plain text")
    valkey = redis.Redis(port=published(encrypted)["valkey"], socket_timeout=TIMEOUT_S)
    with valkey as client, pytest.raises(redis.RedisError):
        client.ping()


def test_status_says_what_is_encrypted_and_what_is_not(encrypted):
    described = orjson.loads(encrypted.command("status", "--json").stdout)
    kinds = {name: facts["encryption"] for name, facts in described.items()}
    mutual = dict.fromkeys(("triton", "milvus", "postgres", "valkey"), "mutual TLS")
    assert kinds == mutual | {"s3": "TLS", "gateway": "TLS", "indexer": "none", "relay": "none"}


class Searches:
    """Searches on new connections and on a kept one, until the block ends."""

    def __init__(self, settings):
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.count, self.failures = 0, []

    def _run(self):
        picture, trusted = TIGER.read_bytes(), self._settings.client_tls.context()
        with httpx.Client(base_url=self._settings.url, verify=trusted, timeout=10) as kept:
            while not self._stop.is_set():
                with httpx.Client(base_url=self._settings.url, verify=trusted, timeout=10) as new:
                    for client in (kept, new):
                        self._search(client, picture)

    def _search(self, client, picture):
        try:
            answer = client.post("/search", files={"image": picture}, data={"user_id": "7"})
        except httpx.HTTPError as error:
            self.failures.append(repr(error))
        else:
            if answer.status_code != 200:
                self.failures.append(answer.text)
        self.count += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def serial(port, tls):
    """The serial number of the certificate that a port shows."""
    made = context(tls, "h2", "http/1.1")
    with (
        ssl.create_connection(("127.0.0.1", port)) as plain,
        made.wrap_socket(plain, server_hostname="127.0.0.1") as one,
    ):
        return one.getpeercert()["serialNumber"]


def test_pictures_are_searchable_and_a_renewal_fails_no_request(encrypted, settings, clients):
    indexed = encrypted.command("index", "demo/queries")
    assert "5 indexed" in indexed.stdout, indexed.stdout + indexed.stderr
    ports = {name: port for name, port in published(encrypted).items() if name not in {"postgres"}}
    before = {name: serial(port, clients["ours"]) for name, port in ports.items()}
    with Searches(settings) as searches:
        eventually_sync(lambda: searches.count > 4)
        renewed = encrypted.command("certificates", "--renew", "--json")
        assert renewed.returncode == 0, renewed.stderr
        assert set(json.loads(renewed.stdout)) == {"ca", "servers", "gateway", "client"}

        def all_new():
            return all(serial(port, settings.client_tls) != before[name] for name, port in ports.items())

        eventually_sync(all_new, every_s=0.2)
        uploaded = httpx.post(
            f"{settings.url}/images",
            files={"image": (ROOT / "demo" / "queries" / "horse.jpg").read_bytes()},
            verify=settings.client_tls.context(),
        )
        assert uploaded.status_code == 202, uploaded.text
        image = f"{settings.url}{uploaded.headers['Location']}"

        def searchable():
            return httpx.get(image, verify=settings.client_tls.context()).json()["status"] == "indexed"

        eventually_sync(searchable, every_s=0.2)
        done = searches.count
        eventually_sync(lambda: searches.count > done + 4)
    assert not searches.failures
    assert encrypted.command("release", "list").returncode == 0, "a command that goes on inside the stack"
