"""Tokens of a real issuer (oidc-provider, under Node), checked by a gateway of two processes."""

import hashlib
import shutil
import signal
import subprocess
from pathlib import Path

import httpx
import playwright
import pytest

from tests.conftest import ROOT, missing
from tests.eventually import eventually_sync
from tests.integration.test_keys import statuses
from tests.integration.test_workers import another_gateway, free_port

pytestmark = pytest.mark.stack

SOURCES = ROOT / "tests" / "oidc_provider"
NODE = Path(playwright.__file__).parent / "driver" / "node"
AUDIENCE = "https://search.example.org"


def provider() -> Path:
    """A folder with the issuer and the packages of its lock file, which are fetched once."""
    lock = (SOURCES / "package-lock.json").read_bytes()
    folder = ROOT / ".visualsearch" / f"oidc-provider-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (folder / "node_modules" / ".package-lock.json").exists():
        npm = shutil.which("npm") or missing("npm")
        shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
        words = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=200)
    shutil.copy(SOURCES / "issuer.js", folder)
    return folder


class Issuer:
    """The issuer's process, and a client of it."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self._port, self._process = port, None

    def start(self, keys):
        words = [str(NODE), "issuer.js", str(self._port), AUDIENCE, keys]
        self._process = subprocess.Popen(words, cwd=provider(), stderr=subprocess.DEVNULL)
        answers = f"{self.url}/.well-known/openid-configuration"
        eventually_sync(lambda: httpx.get(answers).is_success, 60, errors=(httpx.TransportError,))

    def stop(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def token(self, client="ada", scope="search", algorithm="ES256"):
        asked = {"grant_type": "client_credentials", "scope": scope, "resource": f"{AUDIENCE}/{algorithm}"}
        answer = httpx.post(f"{self.url}/token", data=asked, auth=(client, client))
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]


@pytest.fixture(scope="module")
def issuer():
    issuer = Issuer(free_port())
    issuer.start("first")
    yield issuer
    issuer.stop()


@pytest.fixture(scope="module")
def url(running, issuer, tmp_path_factory):
    """A gateway that trusts the issuer, which alone makes it require credentials."""
    settings = {"jwt_issuer": issuer.url, "jwt_audience": AUDIENCE}
    with another_gateway(running, tmp_path_factory.mktemp("gateway"), **settings) as url:
        yield url


def answer(url, token, path="/images/0"):
    return httpx.get(url + path, headers={"authorization": f"Bearer {token}"} if token else {}).status_code


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_token_lets_its_bearer_in(issuer, url, algorithm):
    assert answer(url, issuer.token(algorithm=algorithm)) == 404
    assert answer(url, "") == 401


def test_the_scopes_that_the_issuer_granted_are_those_that_count(issuer, url):
    assert answer(url, issuer.token(scope="search ingest"), "/releases") == 403
    assert answer(url, issuer.token("bob", "admin"), "/releases") == 200


def test_a_token_that_was_changed_is_refused(issuer, url):
    header, claims, signature = issuer.token().split(".")
    _, others, _ = issuer.token("bob", "admin").split(".")
    assert answer(url, f"{header}.{others}.{signature}") == 401
    assert answer(url, f"{header}.{claims}.{signature[::-1]}") == 401


def test_new_keys_of_the_issuer_are_fetched_and_while_it_is_down_known_ones_go_on(issuer, url):
    assert answer(url, issuer.token()) == 404
    issuer.stop()
    issuer.start("second")
    token = issuer.token()
    eventually_sync(lambda: set(statuses(url, token)) == {404}, 30)
    issuer.stop()
    assert set(statuses(url, token)) == {404}
    issuer.start("third")
    unknown = issuer.token()
    issuer.stop()
    assert answer(url, unknown) in {401, 503}
    issuer.start("fourth")
