"""Tokens of an issuer: which are valid, and how its keys are fetched."""

import asyncio
import base64
import json
import time

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.clock import StillClock
from tests.eventually import eventually
from tests.issuer import AUDIENCE, ISSUER, RSA_KEY, Issuer
from visualsearch.adapters.oidc import issuer_keys
from visualsearch.adapters.oidc.issuer_keys import KEEP_S, MAX_AGE_S, REFRESH_S, RETRY_S, IssuerKeys
from visualsearch.adapters.oidc.token_verifier import MAX_TOKEN, OidcTokenVerifier
from visualsearch.domain.access import Identity, Scope
from visualsearch.domain.errors import ConfigurationError, Unauthenticated, Unavailable
from visualsearch.settings import Settings

ADA = Identity("ada", frozenset({Scope.SEARCH}))
LEEWAY_S = 30


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Wait for the issuer however busy the machine is."""
    monkeypatch.setattr(issuer_keys, "WAIT_S", 30.0)
    monkeypatch.setattr(issuer_keys, "FETCH_S", 60.0)


def verifier_of(issuer, clock=time.monotonic, jwks_url="", owner_claim="sub", scope_claim="scope"):
    keys = IssuerKeys(ISSUER, jwks_url, clock, issuer.transport)
    return OidcTokenVerifier(
        keys, ISSUER, AUDIENCE, leeway_s=LEEWAY_S, owner_claim=owner_claim, scope_claim=scope_claim
    )


@pytest.fixture
async def verifier(issuer, clock):
    verifier = verifier_of(issuer, clock)
    yield verifier
    await verifier.close()


def part(value):
    """A part of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def in_s(seconds):
    """A claim that is this far from the moment when the token is made."""
    return lambda: int(time.time()) + seconds


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_names_owner_and_scopes(issuer, verifier, algorithm):
    assert await verifier.verify(issuer.token(algorithm)) == ADA
    assert issuer.asked == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/keys"]


VALID = [
    {"aud": ["other", AUDIENCE]},
    {"nbf": None, "iat": None},
    {"exp": in_s(-LEEWAY_S // 2)},
    {"nbf": in_s(LEEWAY_S // 2)},
]


@pytest.mark.parametrize("changes", VALID)
async def test_what_the_standard_allows_is_valid(issuer, verifier, changes):
    assert await verifier.verify(issuer.token(**changes)) == ADA


REFUSED = [
    ({"exp": in_s(-LEEWAY_S - 5)}, "expired"),
    ({"nbf": in_s(LEEWAY_S + 60)}, "not valid yet"),
    ({"iat": in_s(LEEWAY_S + 60)}, "not valid yet"),
    ({"aud": "https://other.example.org"}, "audience"),
    ({"aud": [AUDIENCE + "/"]}, "audience"),
    ({"aud": []}, "lacks a claim"),
    ({"iss": "https://evil.example.org"}, "issuer"),
    ({"iss": ISSUER + "/"}, "issuer"),
    ({"exp": None}, "lacks a claim"),
    ({"aud": None}, "lacks a claim"),
    ({"iss": None}, "lacks a claim"),
    ({"exp": "tomorrow"}, "malformed"),
    ({"exp": float("inf")}, "malformed"),
    ({"nbf": [1]}, "malformed"),
    ({"sub": None}, "claim sub"),
    ({"sub": ""}, "claim sub"),
    ({"sub": "a" * 200}, "claim sub"),
    ({"sub": "ada\n"}, "claim sub"),
    ({"sub": " ada"}, "claim sub"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSED)
async def test_a_token_with_wrong_claims_is_refused_with_the_reason(issuer, verifier, changes, reason):
    with pytest.raises(Unauthenticated, match=reason):
        await verifier.verify(issuer.token(**changes))


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        (None, set()),
        ("", set()),
        ("openid profile", set()),
        ("SEARCH searching", set()),
        ("search  ingest", {Scope.SEARCH, Scope.INGEST}),
        (["admin", 7, "openid"], {Scope.ADMIN}),
        ({"admin": True}, set()),
        (7, set()),
    ],
)
async def test_only_scopes_that_are_named_exactly_are_granted(issuer, verifier, scope, scopes):
    assert (await verifier.verify(issuer.token(scope=scope))).scopes == scopes


async def test_other_claims_can_name_owner_and_scopes(issuer):
    verifier = verifier_of(issuer, owner_claim="client_id", scope_claim="roles")
    token = issuer.token(client_id="camera", roles=["ingest"])
    assert await verifier.verify(token) == Identity("camera", frozenset({Scope.INGEST}))


def malformed(issuer):
    good = issuer.token()
    header, payload, signature = good.split(".")
    alg = {"alg": "ES256", "kid": "ES256"}
    return [
        *("", ".", "..", "...", "a.b", "a.b.c", "vs.vs.vs", "é.é.é", "\0.\0.\0", "=.=.="),
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}..{signature}",
        f".{payload}.{signature}",
        f"{header}.{payload}.{signature}.{signature}",
        f"{header}.{payload}.{signature[:-4]}",
        f"{header}.{payload}.{part(bytes(64))}",
        f"{header}.{payload}.{part(bytes(10))}",
        f"{header}.{part(issuer.claims(scope='admin'))}.{signature}",
        f"{header}.{part(b'no json')}.{signature}",
        *(f"{part(one)}.{payload}.{signature}" for one in (b"no json", b"\xff\xfe", [], 7, None, "x", {})),
        f"{part(alg | {'kid': 7})}.{payload}.{signature}",
        f"{part(alg | {'kid': ['ES256']})}.{payload}.{signature}",
        f"{part(alg | {'alg': ['ES256']})}.{payload}.{signature}",
        f"{part(alg | {'alg': None})}.{payload}.{signature}",
        f"{part(alg | {'b64': False})}.{payload}.{signature}",
        f"{part(b'[' * 10_000)}.{payload}.{signature}",
        good + "A" * MAX_TOKEN,
    ]


async def test_a_malformed_token_is_refused_whatever_is_wrong_with_it(issuer, verifier):
    for token in malformed(issuer):
        with pytest.raises(Unauthenticated):
            await verifier.verify(token)


async def test_a_signed_payload_that_is_no_set_of_claims_is_refused(issuer, verifier):
    for payload in (b"[]", b"7", b'"text"', b"null", b"\xff", b"{" * 1000):
        token = jwt.PyJWS().encode(payload, issuer.private["ES256"], "ES256", headers={"kid": "ES256"})
        with pytest.raises(Unauthenticated):
            await verifier.verify(token)


async def test_an_unsigned_token_is_refused(issuer, verifier):
    for name in ("none", "None", "NONE", "nOnE", ""):
        token = f"{part({'alg': name, 'kid': 'ES256'})}.{part(issuer.claims())}."
        with pytest.raises(Unauthenticated, match="algorithm"):
            await verifier.verify(token)


async def test_the_public_key_is_no_secret_of_a_symmetric_signature(issuer, verifier):
    public = RSA_KEY.public_key()
    secrets = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(issuer.jwks[0]).encode(),
    ]
    for algorithm in ("HS256", "HS384", "HS512"):
        for secret in secrets:
            signing = f"{part({'alg': algorithm, 'kid': 'RS256'})}.{part(issuer.claims())}"
            hmac = jwt.get_algorithm_by_name(algorithm)
            signature = hmac.sign(signing.encode(), secret)
            with pytest.raises(Unauthenticated, match="algorithm"):
                await verifier.verify(f"{signing}.{part(signature)}")


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "ES384", "ES512", "ES256K"])
async def test_other_algorithms_are_refused_even_with_the_right_key(issuer, verifier, algorithm):
    header = part({"alg": algorithm, "kid": "RS256"})
    with pytest.raises(Unauthenticated, match="algorithm"):
        await verifier.verify(f"{header}.{part(issuer.claims())}.{part(bytes(256))}")


async def test_a_key_verifies_its_own_algorithm_only(issuer, verifier):
    for key_id in ("RS256", "ES256", "EdDSA"):
        for algorithm in {"RS256", "ES256", "EdDSA"} - {key_id}:
            with pytest.raises(Unauthenticated, match="algorithm"):
                await verifier.verify(issuer.token(algorithm, header={"kid": key_id}))


async def test_headers_that_must_be_understood_are_refused(issuer, verifier):
    for header in ({"crit": ["exp"], "exp": 1}, {"crit": []}):
        with pytest.raises(Unauthenticated):
            await verifier.verify(issuer.token(header=header))


async def test_a_key_in_the_token_itself_is_ignored(issuer, verifier):
    own = ec.generate_private_key(ec.SECP256R1())
    jwk = json.loads(jwt.get_algorithm_by_name("ES256").to_jwk(own.public_key()))
    for header in ({"jwk": jwk}, {"jku": "https://evil.example.org/keys"}, {"x5u": "https://evil.example.org"}):
        token = jwt.encode(issuer.claims(), own, "ES256", headers={"kid": "ES256"} | header)
        with pytest.raises(Unauthenticated, match="signature"):
            await verifier.verify(token)
    assert all(address.startswith(ISSUER) for address in issuer.asked)


def published(issuer, key_id, **members):
    """Publish a key as something that it must not be used for."""
    issuer.add(key_id, "ES256", **members)


@pytest.mark.parametrize(
    "members", [{"use": "enc"}, {"alg": "ES384"}, {"alg": "HS256"}, {"crv": "P-384"}, {"x": "?"}, {"kty": "oct"}]
)
async def test_published_keys_of_another_kind_or_use_are_ignored(issuer, verifier, members):
    published(issuer, "other", **members)
    issuer.jwks += [None, 7, [], {}, {"kty": ["EC"]}, {"kty": "EC", "crv": ["P-256"]}]
    with pytest.raises(Unauthenticated, match="does not publish"):
        await verifier.verify(issuer.token(key_id="other"))
    assert await verifier.verify(issuer.token()) == ADA


async def test_a_short_rsa_key_is_ignored(issuer, verifier):
    issuer.private["short"] = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    issuer.jwks.append(issuer.public("short", "RS256") | {"kid": "short"})
    signing = f"{part({'alg': 'RS256', 'kid': 'short'})}.{part(issuer.claims())}"
    signature = jwt.get_algorithm_by_name("RS256").sign(signing.encode(), issuer.private["short"])
    with pytest.raises(Unauthenticated, match="does not publish"):
        await verifier.verify(f"{signing}.{part(signature)}")


async def test_a_token_without_a_key_id_needs_an_issuer_with_one_key_of_the_algorithm(issuer, verifier):
    token = jwt.encode(issuer.claims(), issuer.private["ES256"], "ES256")
    assert await verifier.verify(token) == ADA
    issuer.add("second", "ES256")
    with pytest.raises(Unauthenticated, match="does not publish"):
        await verifier_of(issuer).verify(token)


async def test_many_unknown_key_ids_cost_the_issuer_one_fetch(issuer, verifier, clock):
    assert await verifier.verify(issuer.token()) == ADA
    issuer.asked.clear()
    clock.advance(RETRY_S)
    own = ec.generate_private_key(ec.SECP256R1())

    async def attempt(number):
        token = jwt.encode(issuer.claims(), own, "ES256", headers={"kid": f"unknown {number}"})
        with pytest.raises(Unauthenticated, match="does not publish"):
            await verifier.verify(token)

    await asyncio.gather(*map(attempt, range(200)))
    for number in range(200):
        await attempt(number)
    assert len(issuer.asked) == 2, "the discovery document and the keys"


async def test_a_new_key_is_fetched_when_it_is_first_used(issuer, verifier, clock):
    assert await verifier.verify(issuer.token()) == ADA
    issuer.add("next", "EdDSA")
    clock.advance(RETRY_S)
    assert await verifier.verify(issuer.token("EdDSA", "next")) == ADA
    assert await verifier.verify(issuer.token()) == ADA


async def test_a_withdrawn_key_stops(issuer, verifier, clock):
    token = issuer.token("RS256")
    assert await verifier.verify(token) == ADA
    issuer.jwks = [one for one in issuer.jwks if one["kid"] != "RS256"]
    clock.advance(MAX_AGE_S)
    with pytest.raises(Unauthenticated, match="does not publish"):
        await verifier.verify(token)


async def test_keys_are_refreshed_without_anybody_waiting(issuer, verifier, clock):
    token = issuer.token()
    assert await verifier.verify(token) == ADA
    issuer.held.clear()
    clock.advance(REFRESH_S)
    assert await asyncio.wait_for(verifier.verify(token), 1) == ADA
    issuer.held.set()


async def test_while_the_issuer_is_down_known_keys_go_on_and_unknown_ones_cannot_be_checked(issuer, verifier, clock):
    token = issuer.token()
    assert await verifier.verify(token) == ADA
    issuer.add("next", "ES256")
    issuer.down = True
    clock.advance(MAX_AGE_S)
    for _ in range(20):
        assert await verifier.verify(token) == ADA
        with pytest.raises(Unavailable):
            await verifier.verify(issuer.token(key_id="next"))
    assert len(issuer.asked) == 3, "it is not asked again at once"
    clock.advance(KEEP_S)
    with pytest.raises(Unavailable):
        await verifier.verify(token)
    issuer.down = False
    clock.advance(RETRY_S)
    assert await verifier.verify(issuer.token(key_id="next")) == ADA


async def test_nobody_waits_for_an_issuer_that_hangs_after_a_pause(issuer, verifier, clock, monkeypatch):
    monkeypatch.setattr(issuer_keys, "CHECK_S", 0.01)
    stop, token = asyncio.Event(), issuer.token()
    running = asyncio.create_task(verifier.run(stop))
    await eventually(lambda: len(issuer.asked) == 2)  # although nobody calls
    clock.advance(MAX_AGE_S - 1)
    await eventually(lambda: len(issuer.asked) == 4)
    issuer.held.clear()
    clock.advance(MAX_AGE_S - 1)
    assert await asyncio.wait_for(verifier.verify(token), 5) == ADA
    issuer.held.set()
    stop.set()
    await running


async def test_an_issuer_that_hangs_delays_nobody_for_long(issuer, verifier, monkeypatch):
    monkeypatch.setattr(issuer_keys, "WAIT_S", 0.05)
    issuer.held.clear()
    answers = await asyncio.gather(*(verifier.verify(issuer.token()) for _ in range(20)), return_exceptions=True)
    assert {type(one) for one in answers} == {Unavailable}
    await eventually(lambda: issuer.asked)
    issuer.held.set()
    await eventually(lambda: len(issuer.asked) == 2)
    monkeypatch.undo()
    assert await verifier.verify(issuer.token()) == ADA
    assert len(issuer.asked) == 2, "the one fetch went on"


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example.org", "jwks_uri": f"{ISSUER}/keys"},
        {"issuer": ISSUER},
        {"issuer": ISSUER, "jwks_uri": "http://login.example.org/keys"},
        {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"},
        {"issuer": ISSUER, "jwks_uri": ["https://login.example.org/keys"]},
        [],
        "x",
    ],
)
async def test_a_discovery_document_that_does_not_fit_is_not_followed(issuer, verifier, discovery):
    issuer.discovery = discovery
    with pytest.raises(Unavailable):
        await verifier.verify(issuer.token())
    assert issuer.asked == [f"{ISSUER}/.well-known/openid-configuration"]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(302, headers={"location": "https://evil.example.org"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, content=b"{" + b" " * 2**21 + b"}"),
    ],
)
async def test_an_answer_that_is_no_set_of_keys_is_a_failure_of_the_issuer(issuer, answer):
    asked = []

    def answered(request):
        asked.append(request.url)
        return answer

    issuer.transport = httpx.MockTransport(answered)
    verifier = verifier_of(issuer, jwks_url=f"{ISSUER}/other-keys")
    with pytest.raises(Unavailable):
        await verifier.verify(issuer.token())
    assert [str(url) for url in asked] == [f"{ISSUER}/other-keys"]


ISSUERS = ["http://login.example.org", "ftp://login.example.org", "login.example.org", "https://", "https://u:p@x.org"]


@pytest.mark.parametrize("url", [*ISSUERS, "https://x.org?a=b", "http://127.0.0.1.evil.example", "http://[::2]"])
def test_an_issuer_must_be_reached_by_tls(url, monkeypatch):
    for name in ("jwt_issuer", "jwt_jwks_url"):
        with monkeypatch.context() as context:
            context.setenv("VISUALSEARCH_JWT_AUDIENCE", AUDIENCE)
            context.setenv("VISUALSEARCH_JWT_ISSUER", ISSUER)
            context.setenv(f"VISUALSEARCH_{name.upper()}", url)
            with pytest.raises(ConfigurationError, match=f"{name.upper()}.*https"):
                Settings.load()


@pytest.mark.parametrize("url", [ISSUER, "http://127.0.0.1:9911", "http://localhost:1", "http://[::1]:1/realm"])
def test_an_issuer_by_tls_or_on_this_machine_is_accepted_with_an_audience(url, monkeypatch):
    monkeypatch.setenv("VISUALSEARCH_JWT_ISSUER", url)
    with pytest.raises(ConfigurationError, match="VISUALSEARCH_JWT_AUDIENCE"):
        Settings.load()
    monkeypatch.setenv("VISUALSEARCH_JWT_AUDIENCE", AUDIENCE)
    assert Settings.load().jwt_issuer == url
