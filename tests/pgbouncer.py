"""A real PgBouncer in transaction mode, in front of a Postgres of the tests."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.conftest import missing

START_S = 10
SERVER_CONNECTIONS = 2
"""Fewer than the clients have, so that they share them."""
CONFIG = """[databases]
* = host={host} port={port}
[pgbouncer]
pool_mode = transaction
default_pool_size = {connections}
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
"""


@contextmanager
def pgbouncer(dsn, password, folder):
    """Yield the address of the pooler, in place of a database's own."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        missing("pgbouncer")
    given = conninfo_to_dict(dsn)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = free.getsockname()[1]
    users, config = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text(f'"{given["user"]}" "{password}"\n')
    config.write_text(
        CONFIG.format(
            host=given["host"], port=given["port"], connections=SERVER_CONNECTIONS, listen=listen, users=users
        )
    )
    as_another = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to run as root
    process = subprocess.Popen([program, "-q", *as_another, str(config)])
    address = f"postgresql://{given['user']}@127.0.0.1:{listen}/{given['dbname']}"
    try:
        _wait_until_up(process, address, password)
        yield address
    finally:
        process.terminate()
        process.wait()


def _wait_until_up(process, address, password):
    end = time.monotonic() + START_S
    while True:
        assert process.poll() is None, f"pgbouncer ended with {process.returncode}"
        try:
            psycopg.connect(address, password=password, connect_timeout=1).close()
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
