"""Tokens of an issuer as credentials of REST and gRPC."""

import asyncio
import hashlib

import grpc
import pytest

from gateway.credentials import requires_keys
from gateway.grpc import visualsearch_pb2 as pb
from gateway.grpc import visualsearch_pb2_grpc as pb_grpc
from gateway.grpc.server import serve
from tests.issuer import AUDIENCE, ISSUER, Issuer
from tests.pictures import jpeg
from tests.unit.gateway.test_gateway_grpc import code, free_address
from tests.unit.gateway.test_stored_keys import make
from tests.unit.serving import Serving, assert_problem
from visualsearch.adapters.oidc.issuer_keys import IssuerKeys
from visualsearch.adapters.oidc.token_verifier import OidcTokenVerifier
from visualsearch.domain.images import Visibility
from visualsearch.settings import Settings

CONFIGURED = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
async def serving(issuer):
    tokens = OidcTokenVerifier(
        IssuerKeys(ISSUER, "", transport=issuer.transport),
        *(ISSUER, AUDIENCE),
        leeway_s=30,
        owner_claim="sub",
        scope_claim="scope",
    )
    key = f"eve:admin:{hashlib.sha256(b'e').hexdigest()}"
    async with Serving(tokens=tokens, api_keys=key, **CONFIGURED) as serving:
        yield serving
    await tokens.close()


async def get(serving, credentials="", path="/stats"):
    headers = {"authorization": f"Bearer {credentials}"} if credentials else {}
    return await serving.client.get(path, headers=headers)


def test_an_issuer_alone_makes_credentials_required():
    assert requires_keys(Settings(_env_file=None, **CONFIGURED))
    assert not requires_keys(Settings(_env_file=None))


async def test_a_token_is_as_good_as_a_key_and_keys_still_work(serving, issuer):
    key, _ = await make(serving.api_keys)
    for credentials in (issuer.token(), key, "e"):
        assert (await get(serving, credentials)).status_code == 200
    assert_problem(await get(serving), 401)


async def test_a_token_opens_the_calls_of_its_scopes_alone(serving, issuer):
    assert (await get(serving, issuer.token(scope="admin"), "/releases")).status_code == 200
    refused = await get(serving, issuer.token(scope="search ingest"), "/releases")
    assert_problem(refused, 403)
    assert "admin" in refused.json()["detail"]
    assert_problem(await get(serving, issuer.token(scope="openid")), 403)


async def test_private_pictures_are_visible_to_the_owner_that_a_token_names(serving, issuer):
    image = await serving.index(jpeg(1), owner="ada", visibility=Visibility.PRIVATE)
    assert (await get(serving, issuer.token(), f"/images/{image}")).status_code == 200
    assert_problem(await get(serving, issuer.token(sub="bob"), f"/images/{image}"), 404)


async def test_a_token_that_is_not_valid_is_a_401_that_says_why(serving, issuer):
    refused = await get(serving, issuer.token(exp=1))
    assert_problem(refused, 401)
    assert "expired" in refused.json()["detail"]
    assert refused.headers["www-authenticate"] == "Bearer"


async def test_while_the_issuer_is_away_tokens_get_a_503_and_keys_go_on(serving, issuer):
    issuer.down = True
    assert_problem(await get(serving, issuer.token()), 503)
    assert (await get(serving, "e")).status_code == 200


async def test_wrong_tokens_are_slowed_down_as_wrong_keys_are(serving, issuer):
    token = issuer.token(aud="other")
    answers = await asyncio.gather(*(get(serving, token) for _ in range(60)))
    assert {answer.status_code for answer in answers} == {401, 429}
    assert (await get(serving, issuer.token())).status_code == 200


async def test_grpc_takes_tokens_too(serving, issuer):
    address = free_address()
    async with serve(serving.gateway, address, 1), grpc.aio.insecure_channel(address) as channel:
        embed, request = pb_grpc.VisualSearchStub(channel).Embed, pb.EmbedRequest(image_bytes=jpeg(1))

        def call(token):
            return embed(request, metadata=[("authorization", f"Bearer {token}")])

        assert (await call(issuer.token())).values
        assert await code(call(issuer.token(exp=1))) is grpc.StatusCode.UNAUTHENTICATED
        assert await code(call(issuer.token(scope=""))) is grpc.StatusCode.PERMISSION_DENIED


async def test_without_an_issuer_a_token_is_an_unknown_key(issuer):
    async with Serving(require_keys=True) as serving:
        assert_problem(await get(serving, issuer.token()), 401)
