"""A gateway without keys serves only this machine: no other host name, site or address."""

import contextlib
import os
import socket
import subprocess
import sys

import grpc
import httpx
import pytest

from gateway.grpc import visualsearch_pb2 as pb
from gateway.grpc import visualsearch_pb2_grpc as pb_grpc
from gateway.grpc.server import serve
from gateway.host_policy import check_address
from tests.deployment import OVERLAYS, ROOT, compose, rendered
from tests.pictures import jpeg
from tests.unit.gateway.test_authentication import KEYS
from tests.unit.gateway.test_gateway_grpc import code, free_address
from tests.unit.serving import Serving, assert_problem
from visualsearch.domain.errors import ConfigurationError
from visualsearch.settings import Settings

HERE = ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "localhost.:80"]
ELSEWHERE = [
    "evil.example",
    "evil.example:8080",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "10.0.0.1",
    "0.0.0.0",
]
MALFORMED = ["", " ", "localhost:http", "a@localhost", "localhost/x", "[::1", "localhost, evil.example"]
WITH_KEY = {"x-api-key": "a"}


async def get(serving, host, path="/health", **headers):
    return await serving.client.get(path, headers={"host": host, **headers})


async def post(serving, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await serving.upload(jpeg(1), {"host": "localhost:8080"} | names)


@pytest.mark.parametrize("host", HERE)
async def test_without_keys_the_names_of_this_machine_are_served(host):
    async with Serving() as serving:
        assert (await get(serving, host)).status_code == 200


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/metrics", "/stats", "/static/app.js", "/nowhere"])
@pytest.mark.parametrize("host", [*ELSEWHERE, *MALFORMED])
async def test_without_keys_a_foreign_name_that_resolves_to_this_machine_is_refused(host, path):
    async with Serving() as serving:
        refused = await get(serving, host, path)
        assert_problem(refused, 403)
        assert "VISUALSEARCH_ALLOWED_HOSTS" in refused.json()["detail"]


async def test_two_hosts_at_once_are_refused():
    async with Serving() as serving:
        headers = [("host", "localhost"), ("host", "evil.example")]
        assert_problem(await serving.client.get("/health", headers=headers), 403)


CROSS_SITE = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:3000"},
    {"origin": "http://evil.example/localhost:8080"},
    {"origin": "http://localhost:8080@evil.example"},
    {"origin": ""},
    {"origin": "http://["},
    {"origin": "http://localhost:8080/x"},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
    {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"},
]


@pytest.mark.parametrize("headers", CROSS_SITE)
async def test_without_keys_cross_site_requests_are_refused(headers):
    async with Serving() as serving:
        refused = await post(serving, **headers)
        assert_problem(refused, 403)
        assert "VISUALSEARCH_API_KEYS" in refused.json()["detail"]
        assert not serving.image_repository.images
        assert not serving.object_store.objects


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "http://localhost:8080", "sec_fetch_site": "same-origin"}, {"sec_fetch_site": "none"}],
)
async def test_the_page_itself_and_programs_are_served(headers):
    async with Serving() as serving:
        assert (await post(serving, **headers)).status_code == 202


async def test_a_link_on_another_site_may_open_the_page_but_not_a_call():
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    async with Serving() as serving:
        for path in ("/", "/docs"):
            assert (await get(serving, "localhost", path, **link)).status_code == 200
        assert_problem(await get(serving, "localhost", "/stats", **link), 403)
        assert_problem(await get(serving, "evil.example", "/", **link), 403)


async def test_a_preflight_from_another_site_is_refused():
    asks = {"host": "localhost", "origin": "https://evil.example", "access-control-request-method": "POST"}
    async with Serving() as serving:
        refused = await serving.client.options("/images", headers=asks)
    assert_problem(refused, 403)
    assert not [name for name in refused.headers if name.startswith("access-control")]


async def test_hosts_that_the_operator_names_are_served_and_may_be_origins():
    async with Serving(allowed_hosts="Search.example.org, other.example.org") as serving:
        assert (await get(serving, "search.example.org")).status_code == 200
        assert (await post(serving, origin="https://other.example.org")).status_code == 202
        assert_problem(await get(serving, "evil.example"), 403)


async def test_an_anonymous_gateway_is_called_by_address_but_by_no_unknown_name():
    async with Serving(allow_anonymous=True) as serving:
        for host in ("10.0.0.1:8080", "[fd00::1]:8080", "localhost"):
            assert (await get(serving, host, "/stats")).status_code == 200
        assert_problem(await get(serving, "evil.example", "/stats"), 403)
        assert_problem(await post(serving, origin="https://evil.example"), 403)
        for probe in ("/health", "/ready", "/metrics"):
            assert (await get(serving, "gateway", probe)).status_code == 200


async def test_a_star_accepts_every_host():
    async with Serving(allow_anonymous=True, allowed_hosts="*") as serving:
        assert (await get(serving, "any.example")).status_code == 200
        assert_problem(await post(serving, origin="https://evil.example"), 403)


async def test_with_keys_every_host_is_served_unless_some_are_named():
    async with Serving(api_keys=KEYS) as serving:
        assert (await get(serving, "any.example", "/stats", **WITH_KEY)).status_code == 200
        assert (await post(serving, origin="https://any.example", **WITH_KEY)).status_code == 202
    async with Serving(api_keys=KEYS, allowed_hosts="search.example.org") as serving:
        assert (await get(serving, "search.example.org", "/stats", **WITH_KEY)).status_code == 200
        assert_problem(await get(serving, "any.example", "/stats", **WITH_KEY), 403)
        for probe in ("/health", "/ready", "/metrics"):
            assert (await get(serving, "10.1.2.3:8080", probe)).status_code == 200


async def test_a_refused_request_is_refused_before_its_body_is_read():
    async with Serving() as serving:

        async def body():
            yield b"x"
            pytest.fail("the body was read")

        refused = await serving.client.post("/search", content=body(), headers={"host": "evil.example"})
        assert_problem(refused, 403)


async def test_grpc_without_keys_refuses_what_a_web_page_sends():
    address = free_address()
    async with Serving() as serving, serve(serving.gateway, address, 1), grpc.aio.insecure_channel(address) as channel:
        stub = pb_grpc.VisualSearchStub(channel)
        ask = pb.EmbedRequest(image_bytes=jpeg(1))
        assert await code(stub.Embed(ask, metadata=[("origin", "https://evil.example")])) == (
            grpc.StatusCode.PERMISSION_DENIED
        )
        assert (await stub.Embed(ask)).values


async def test_the_grpc_port_does_not_speak_the_http_that_a_browser_speaks_without_tls():
    address = free_address()
    async with Serving() as serving, serve(serving.gateway, address, 1), httpx.AsyncClient() as client:
        with pytest.raises(httpx.HTTPError):
            await client.post(f"http://{address}/visualsearch.v1.VisualSearch/Embed", content=b"\0" * 5)


OPEN = ["0.0.0.0", "::", "10.0.0.1", "gateway.example"]


@pytest.mark.parametrize("host", OPEN)
def test_a_gateway_without_keys_binds_no_address_that_others_reach(host):
    with pytest.raises(ConfigurationError, match=r"VISUALSEARCH_API_KEYS.*VISUALSEARCH_ALLOW_ANONYMOUS"):
        check_address(Settings(_env_file=None, gateway_host=host), keys=False)


@pytest.mark.parametrize("host", OPEN)
def test_with_keys_or_with_the_setting_it_binds_any_address(host):
    check_address(Settings(_env_file=None, gateway_host=host), keys=True)
    check_address(Settings(_env_file=None, gateway_host=host, allow_anonymous=True), keys=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_loopback_needs_no_key(host):
    check_address(Settings(_env_file=None, gateway_host=host), keys=False)


def test_an_inherited_socket_counts_by_what_it_is_bound_to():
    for address, accepted in (("127.0.0.1", True), ("0.0.0.0", False)):
        with socket.create_server((address, 0)) as listener:
            settings = Settings(_env_file=None, gateway_sockets=(listener.fileno(),))
            with contextlib.nullcontext() if accepted else pytest.raises(ConfigurationError, match=address):
                check_address(settings, keys=False)
            assert listener.getsockname()[0] == address


def start(tmp_path, **settings):
    env = {**os.environ, "VISUALSEARCH_HOME": str(tmp_path), "VISUALSEARCH_GATEWAY_HOST": "0.0.0.0", **settings}
    words = [sys.executable, "-m", "gateway"]
    return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("keys", ["", " , "])
def test_a_process_that_does_not_start_says_how_to_proceed(tmp_path, keys):
    done = start(tmp_path, VISUALSEARCH_API_KEYS=keys)
    assert done.returncode == 1
    assert "VISUALSEARCH_ALLOW_ANONYMOUS=1" in done.stderr
    assert "Traceback" not in done.stderr


def test_malformed_keys_prevent_the_start_too(tmp_path):
    done = start(tmp_path, VISUALSEARCH_API_KEYS="ada:king")
    assert done.returncode == 1
    assert "owner:role:sha256-of-key" in done.stderr
    assert "Traceback" not in done.stderr


def test_containers_and_manifests_need_keys():
    image = (ROOT / "Dockerfile").read_text()
    assert "VISUALSEARCH_GATEWAY_HOST=0.0.0.0" in image
    assert "VISUALSEARCH_REQUIRE_KEYS=true" in image
    assert "visualsearch_api_keys" in compose()["services"]["gateway"]["secrets"]
    manifests = [str(compose()), *(str(rendered(overlay)) for overlay in OVERLAYS)]
    for text in (image, *manifests):
        assert "ALLOW_ANONYMOUS" not in text
    for text in manifests:
        assert "REQUIRE_KEYS" not in text, "they leave it as the image sets it"
