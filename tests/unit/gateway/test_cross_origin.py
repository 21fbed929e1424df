"""Pages of other origins that call the API (CORS)."""

import pytest

from gateway.api.app import create_app
from gateway.host_policy import cors_origins
from tests.pictures import jpeg
from tests.unit.gateway.test_authentication import KEYS
from tests.unit.serving import Serving, assert_problem
from visualsearch.domain.errors import ConfigurationError
from visualsearch.settings import Settings

SHOP, EVIL = "https://shop.example", "https://evil.example"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}


@pytest.fixture(scope="module")
def apps():
    return {origins: create_app(origins=origins.split(",")) for origins in (SHOP, "*")}


@pytest.fixture
async def shop(apps):
    """Without keys, for the pages of one shop."""
    async with Serving(app=apps[SHOP], cors_origins=SHOP) as serving:
        yield serving


def names_an_origin(answer):
    return [name for name in answer.headers if name.startswith("access-control-allow-")]


async def test_nothing_is_permitted_by_default():
    async with Serving(api_keys=KEYS) as serving:
        assert_problem(await serving.client.options("/search", headers={"origin": SHOP} | PREFLIGHT), 405)
        assert not names_an_origin(await serving.client.get("/health", headers={"origin": SHOP}))


async def test_a_page_of_the_origin_may_search_and_read_the_answer(shop):
    preflight = await shop.client.options("/search", headers={"origin": SHOP} | PREFLIGHT)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, SHOP)
    files = {"image": ("x.jpg", jpeg(1))}
    answer = await shop.client.post("/search", files=files, headers={"origin": SHOP})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, SHOP)


async def test_a_page_of_the_origin_can_read_errors_and_headers(shop):
    error = await shop.client.get("/images/999", headers={"origin": SHOP})
    assert_problem(error, 404)
    assert error.headers["access-control-allow-origin"] == SHOP
    assert {"ETag", "Location", "Retry-After"} <= set(error.headers["access-control-expose-headers"].split(", "))


async def test_a_page_of_another_origin_may_nothing(shop):
    preflight = await shop.client.options("/search", headers={"origin": EVIL} | PREFLIGHT)
    assert_problem(preflight, 403)
    assert "access-control-allow-origin" not in preflight.headers
    refused = await shop.client.get("/health", headers={"origin": EVIL})
    assert_problem(refused, 403)
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("origin", ["http://shop.example", "https://shop.example:8443", f"{SHOP}.evil.example", "null"])
async def test_an_origin_that_only_looks_alike_is_another_one(shop, origin):
    assert_problem(await shop.client.get("/health", headers={"origin": origin}), 403)


async def test_a_trusted_origin_does_not_make_a_strange_host_trusted(shop):
    assert_problem(await shop.client.get("/health", headers={"origin": SHOP, "host": "evil.example"}), 403)


@pytest.mark.parametrize("origins", [SHOP, "*"])
async def test_no_answer_permits_cookies(apps, origins):
    async with Serving(app=apps[origins], cors_origins=origins, api_keys=KEYS) as serving:
        for answer in (
            await serving.client.options("/search", headers={"origin": SHOP} | PREFLIGHT),
            await serving.client.get("/stats", headers={"origin": SHOP, "x-api-key": "a"}),
        ):
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == origins
            assert "access-control-allow-credentials" not in answer.headers


async def test_every_origin_still_needs_a_key(apps):
    async with Serving(app=apps["*"], cors_origins="*", api_keys=KEYS) as serving:
        answer = await serving.client.get("/stats", headers={"origin": EVIL})
        assert_problem(answer, 401)
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_answers_that_depend_on_the_origin_say_so_to_caches(shop):
    for headers in ({}, {"origin": SHOP}):
        assert "Origin" in (await shop.client.get("/health", headers=headers)).headers["vary"]


def test_every_origin_without_keys_is_refused():
    with pytest.raises(ConfigurationError, match="VISUALSEARCH_REQUIRE_KEYS"):
        cors_origins(Settings(cors_origins="*"), keys=False)
    assert cors_origins(Settings(cors_origins="*"), keys=True) == {"*"}


@pytest.mark.parametrize(
    "text",
    ["shop.example", f"{SHOP}/", f"{SHOP}/path", "ftp://shop.example", "null", "https://*.shop.example", "https://"],
)
def test_a_text_that_is_no_origin_is_refused(text):
    with pytest.raises(ConfigurationError, match="is a scheme and a host"):
        cors_origins(Settings(cors_origins=text), keys=True)
