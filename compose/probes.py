"""Health probes: each performs a small real operation on a server, and raises when it fails."""

from __future__ import annotations

import time
import urllib.request
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import obstore
import redis
import tritonclient.grpc as triton_grpc
from obstore.store import S3Store
from pymilvus import MilvusClient, MilvusException
from tritonclient.utils import InferenceServerException

from compose.postgres_roles import ensure_roles
from visualsearch.domain.images import IMAGE_SIDE
from visualsearch.releases.active_releases import LIVE_ALIAS

if TYPE_CHECKING:
    from pathlib import Path

    from visualsearch.tls import ClientTLS

TIMEOUT_S = 3.0
HEARTBEAT_S = 10.0
"""An indexer that has not touched its heartbeat file for this long counts as hung."""


class Broken(Exception):
    """The process is alive but cannot recover without a restart."""


@cache
def _triton(address: str) -> Any:  # noqa: ANN401 - the client has no types
    return triton_grpc.InferenceServerClient(address)


def triton(address: str, model: str) -> None:
    """Run a tiny inference. The server's own readiness check still succeeds when the model's process is dead."""
    pixels = triton_grpc.InferInput("pixels", [1, IMAGE_SIDE, IMAGE_SIDE, 3], "UINT8")
    pixels.set_data_from_numpy(np.zeros((1, IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8))
    try:
        wanted = [triton_grpc.InferRequestedOutput("embedding")]
        answer = _triton(address).infer(model, [pixels], outputs=wanted, client_timeout=TIMEOUT_S)
    except InferenceServerException as error:
        if "Stub process" in str(error):
            raise Broken("the process of the model is dead") from None
        raise
    if not np.isfinite(answer.as_numpy("embedding")).all():
        raise ValueError("the embedding is not finite")


def milvus(uri: str, password: str) -> None:
    """Query the live collection if there is one, else list the collections.

    A fresh Milvus has a well-known root password, which is changed at once to the generated one.
    """
    try:
        client = MilvusClient(uri=uri, user="root", password=password, timeout=TIMEOUT_S)
    except MilvusException:  # does not distinguish a wrong password from an unreachable server
        fresh = MilvusClient(uri=uri, user="root", password="Milvus", timeout=TIMEOUT_S)  # noqa: S106
        fresh.update_password("root", "Milvus", password, timeout=TIMEOUT_S)
        fresh.close()
        client = MilvusClient(uri=uri, user="root", password=password, timeout=TIMEOUT_S)
    try:
        names = client.list_collections(timeout=TIMEOUT_S)
        if LIVE_ALIAS in _aliases(client, names):
            client.query(LIVE_ALIAS, filter="id >= 0", output_fields=["id"], limit=1, timeout=TIMEOUT_S)
    finally:
        client.close()


def _aliases(client: MilvusClient, names: list[str]) -> set[str]:
    return {alias for name in names for alias in client.list_aliases(name, timeout=TIMEOUT_S)["aliases"]}


def postgres(dsn: str, password: str, administrator_password: str) -> None:
    """Connect as the application and run a statement. Create its role and database first in a fresh cluster."""
    ensure_roles(dsn, password, administrator_password)


def valkey(url: str, password: str) -> None:
    """Write to a stream."""
    with redis.Redis.from_url(url, password=password, socket_timeout=TIMEOUT_S) as client:
        client.xadd("visualsearch:probe", {"at": time.time()}, maxlen=1)


def s3(url: str, bucket: str, access_key: str, secret_key: str) -> None:
    """Put an object, under a name that no picture of the corpus uses."""
    store = S3Store(
        bucket,
        endpoint=url,
        region="us-east-1",
        access_key_id=access_key,
        secret_access_key=secret_key,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "timeout": f"{TIMEOUT_S:.0f}s"},
        retry_config={"max_retries": 0},
    )
    obstore.put(store, ".visualsearch/probe", b"probe")


def http(url: str, tls: ClientTLS | None = None) -> None:
    """Send a GET request to a URL."""
    context = tls.context() if tls else None
    with urllib.request.urlopen(url, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310 - our own address
        answer.read()


def heartbeat(path: Path) -> None:
    """Check that a process has touched its heartbeat file recently."""
    age = time.time() - path.stat().st_mtime
    if age > HEARTBEAT_S:
        raise TimeoutError(f"no heartbeat for {age:.0f} s")
