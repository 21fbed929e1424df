"""API keys of Postgres, made by the command and checked by a gateway of two processes."""

import time
from collections import Counter

import httpx
import orjson
import psutil
import psycopg
import pytest

from tests.conftest import Stack
from tests.integration.test_workers import another_gateway
from tests.pictures import jpeg
from tests.postgres import migrated_database

pytestmark = pytest.mark.stack

WITHIN_S = 10.0
"""Twice what is promised, for a machine with much else to do."""
CONNECTIONS, PAUSE_S = 10, 0.5
"""Enough for both processes to have their share, and few enough not to be slowed down for wrong keys."""


@pytest.fixture(scope="module")
def keys(running, stack):
    """The stack's command, on a database of the module's own, so that the stack's gateway stays open."""
    with migrated_database(stack) as (dsn, _):
        command = Stack(running.home)
        command.env = running.env | {"VISUALSEARCH_POSTGRES_DSN": dsn}
        yield command


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """What the gateway writes to."""
    return tmp_path_factory.mktemp("gateway") / "gateway.log"


@pytest.fixture(scope="module")
def url(keys, log):
    """A gateway that requires keys and logs all that it can, on that database."""
    with log.open("wb") as file, another_gateway(keys, log.parent, file, require_keys=True, log_level="DEBUG") as url:
        yield url


def done(keys, *words):
    ran = keys.command("keys", *words, "--json")
    assert ran.returncode == 0, ran.stderr
    return orjson.loads(ran.stdout)


def statuses(url, key, path="/images/0", method="GET"):
    """What calls come to, each on a connection of its own."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url, headers=headers, limits=httpx.Limits(max_keepalive_connections=0)) as client:
        return Counter(client.request(method, path).status_code for _ in range(CONNECTIONS))


def wait_until(url, key, status):
    """Wait until every process answers so; calls that begin after ``WITHIN_S`` must."""
    begin = time.monotonic()
    while True:
        late = time.monotonic() - begin >= WITHIN_S
        found = statuses(url, key)
        if found == {status: CONNECTIONS}:
            return
        assert not late, found
        time.sleep(PAUSE_S)


def test_a_key_is_effective_in_every_process_and_so_is_its_end(keys, url):
    assert statuses(url, "") == {401: CONNECTIONS}
    made = done(keys, "create", "ada", "--scope", "search", "--note", "the phone")
    wait_until(url, made["key"], 404)
    assert done(keys, "revoke", made["id"])["state"] == "revoked"
    wait_until(url, made["key"], 401)


def test_a_scope_opens_its_calls_alone(keys, url):
    made = done(keys, "create", "bob", "--scope", "ingest")
    wait_until(url, made["key"], 403)
    assert statuses(url, made["key"], "/images", "POST") == {422: CONNECTIONS}, "let in, and then without a picture"
    assert statuses(url, made["key"], "/releases") == {403: CONNECTIONS}


def test_rotation_replaces_a_key_at_once_or_after_an_overlap(keys, url):
    first = done(keys, "create", "eve", "--scope", "search")
    second = done(keys, "rotate", first["id"], "--overlap", "1h")
    assert (second["owner"], second["scopes"]) == ("eve", ["search"])
    wait_until(url, second["key"], 404)
    assert statuses(url, first["key"]) == {404: CONNECTIONS}
    third = done(keys, "rotate", second["id"])
    wait_until(url, third["key"], 404)
    wait_until(url, second["key"], 401)


def test_a_key_is_printed_once_and_stored_nowhere(keys, stack):
    made = done(keys, "create", "ada", "--scope", "search", "--expires-in", "30d")
    secret = made["key"].rpartition("_")[2]
    listed = done(keys, "list", "--owner", "ada")
    (one,) = [key for key in listed if key["id"] == made["id"]]
    assert one["state"] == "active"
    assert one["expires_at"] > one["created_at"]
    assert "key" not in one
    password = stack.postgres_password.get_secret_value()
    with psycopg.connect(keys.env["VISUALSEARCH_POSTGRES_DSN"], password=password) as server:
        rows = server.execute("SELECT api_keys::text FROM api_keys").fetchall()
    assert rows
    assert secret not in str(rows)


def test_an_unknown_key_cannot_be_revoked(keys):
    refused = keys.command("keys", "revoke", "0" * 12)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: There is no key")


def test_for_people_the_key_alone_is_on_standard_output(keys):
    made = keys.command("keys", "create", "ada", "--scope", "search")
    assert made.stdout.startswith("vs_")
    assert len(made.stdout.split()) == 1
    assert "not shown again" in made.stderr
    listed = keys.command("keys", "list").stdout
    assert made.stdout.split("_")[1] in listed
    assert made.stdout.strip() not in listed


def test_the_audit_log_tells_who_made_and_who_ended_a_key(keys):
    key = done(keys, "create", "audited", "--scope", "search")
    done(keys, "revoke", key["id"])
    told = orjson.loads(keys.command("audit", "--action", "key.", "--json").stdout)
    mine = [(one["action"], one["outcome"]) for one in told if key["id"] in one["subject"]]
    assert mine == [("key.revoke", "done"), ("key.create", "done")]
    assert all("@" in one["actor"] for one in told)
    assert key["key"] not in keys.command("audit", "--json").stdout


def test_a_key_that_is_used_shows_in_no_answer_log_metric_argument_or_audit_entry(keys, url, log):
    made = done(keys, "create", "carol", "--scope", "search", "--scope", "ingest")
    key, secret = made["key"], made["key"].rpartition("_")[2]
    wait_until(url, key, 404)
    picture = {"image": ("x.jpg", jpeg(1))}
    calls = [  # what is accepted would belong to another database than that of the stack's indexer
        ("POST", "/images", {"files": {"image": b"no picture"}}, 415),
        ("POST", "/search", {"files": picture, "data": {"k": "0"}}, 422),
        ("POST", "/search", {"files": picture}, 503),
        ("GET", "/dead-letters", {}, 200),
        ("GET", "/releases", {}, 403),
        ("GET", "/nowhere", {}, 404),
        ("PUT", "/images/1", {}, 405),
        ("DELETE", "/images/1", {}, 503),
    ]
    texts = []
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}) as client:
        for method, path, values, status in calls:
            answer = client.request(method, path, **values)
            assert answer.status_code == status, answer.text
            texts.append(f"{answer.text} {answer.headers}")
        texts.append(client.get("/metrics").text)
    told, log_text = keys.command("audit", "--json").stdout, log.read_text()
    assert "carol" in told
    assert log_text
    arguments = " ".join(word for process in psutil.process_iter() for word in process.cmdline())
    assert not [number for number, text in enumerate([*texts, told, log_text, arguments]) if secret in text]
