"""The application's role in Postgres is no superuser, neither in a new nor in an older cluster."""

import os
import socket
import subprocess

import psycopg
import pytest

from compose import probes, servers
from compose.server_binaries import ensure
from compose.servers import postgres
from compose.stack_plan import StackPlan
from compose.state import Ports
from tests.conftest import ROOT
from tests.eventually import eventually_sync
from visualsearch.adapters.postgres.migrations import migrate

pytestmark = pytest.mark.stack
OURS, ADMINISTRATORS = "the application's", "the administrator's"


@pytest.fixture
def plan(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    secrets = {"POSTGRES_PASSWORD": OURS, "POSTGRES_ADMIN_PASSWORD": ADMINISTRATORS}
    return StackPlan(tmp_path, ensure(ROOT / ".visualsearch" / "server-binaries"), Ports({"postgres": port}), secrets)


@pytest.fixture
def start():
    """Start a server, and stop it at the end; returns its DSN once it listens."""
    running = []

    def one(plan: StackPlan) -> str:
        service = postgres(plan)
        service.prepare()
        running.append(subprocess.Popen(service.argv, env={**os.environ, **service.env}, cwd=service.cwd))

        def listens():
            with socket.create_connection(("127.0.0.1", plan.ports["postgres"])):
                return True

        eventually_sync(listens, within_s=30, errors=(OSError,))
        return service.addresses["dsn"]

    yield one
    for process in running:
        process.terminate()
        process.wait(30)


def run(dsn: str, query: str, password: str = OURS):
    with psycopg.connect(dsn, password=password, autocommit=True) as connection:
        return connection.execute(query).fetchone()


def assert_is_no_superuser(dsn: str) -> None:
    assert run(dsn, "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = current_user") == (
        False,
    )
    for forbidden in ("COPY (SELECT 1) TO PROGRAM 'cat'", "SELECT pg_read_file('PG_VERSION')", "CREATE ROLE other"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), psycopg.connect(dsn, password=OURS) as connection:
            connection.execute(forbidden)


def test_the_application_owns_its_database_and_nothing_else(plan, start):
    dsn = start(plan)
    eventually_sync(
        lambda: probes.postgres(dsn, OURS, ADMINISTRATORS) is None, within_s=30, errors=(psycopg.OperationalError,)
    )
    migrate(dsn, OURS)
    assert_is_no_superuser(dsn)
    assert run(dsn.replace("visualsearch@", "postgres@"), "SELECT current_setting('is_superuser')", ADMINISTRATORS) == (
        "on",
    )


def test_an_older_cluster_keeps_its_rows_and_its_application_is_no_longer_superuser(plan, start, monkeypatch):
    monkeypatch.setattr(servers, "ADMINISTRATOR", "visualsearch")
    plan.secrets["POSTGRES_ADMIN_PASSWORD"] = OURS
    dsn = start(plan)
    maintenance = dsn.rsplit("/", 1)[0] + "/postgres"
    eventually_sync(lambda: run(maintenance, "SELECT 1"), within_s=30, errors=(psycopg.OperationalError,))
    with psycopg.connect(maintenance, password=OURS, autocommit=True) as connection:
        connection.execute("CREATE DATABASE visualsearch")
    migrate(dsn, OURS)
    run(dsn, "INSERT INTO images (uri) VALUES ('s3://images/kept.jpg') RETURNING id")
    for _ in range(2):
        probes.postgres(dsn, OURS, ADMINISTRATORS)
        assert_is_no_superuser(dsn)
    migrate(dsn, OURS)
    assert run(dsn, "SELECT uri FROM images") == ("s3://images/kept.jpg",)
    others = "relnamespace = 'public'::regnamespace AND relowner <> 'visualsearch'::regrole"
    assert run(dsn, f"SELECT count(*) FROM pg_class WHERE {others}") == (0,)
