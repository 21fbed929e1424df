"""The supervised processes of this project, and the server addresses that they read from the state folder."""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING

from compose import probes
from compose.launch import FILER_CHANGES, GATEWAY_INSIDE, INSIDE
from compose.relay import GRPC, HTTP, POSTGRES, S3, VALKEY
from compose.servers import BUCKET, Service
from compose.state import GRPC_OFFSET, LOOPBACK
from visualsearch.settings import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from compose.stack_plan import StackPlan
    from compose.state import Ports

PROTOCOLS = {
    "triton_grpc": GRPC,
    "milvus": GRPC,
    FILER_CHANGES: GRPC,
    "postgres": POSTGRES,
    "valkey": VALKEY,
    "s3": S3,
    "triton_http": HTTP,
    "weed_filer": HTTP,
    **dict.fromkeys(("triton_metrics", "milvus_metrics", "weed_metrics", "indexer_metrics"), HTTP),
}
"""What is spoken inside TLS, for each port on which the relay ends it."""
ENCRYPTION = {**dict.fromkeys(("triton", "milvus", "postgres", "valkey"), "mutual TLS"), "s3": "TLS", "gateway": "TLS"}
"""How the servers' clients connect where TLS is used, for `status`."""

FEW_ARENAS = {"MALLOC_ARENA_MAX": "2"}
"""glibc gives each thread a heap of its own, and each keeps what large uploads needed: 240 MB of a process, not 100."""


def addresses(plan: StackPlan, lite: bool) -> str:
    """Return the text of ``stack.env``: the addresses of this stack's servers, as settings."""
    ports = plan.ports
    values = {
        "URL": plan.gateway_url,
        "GATEWAY_PORT": ports["gateway"],
        "GATEWAY_GRPC_PORT": ports["gateway_grpc"],
        "ENCODER": "onnx" if lite else "triton",
        "TRITON_URL": f"http://{LOOPBACK}:{ports['triton_http']}",
        "TRITON_GRPC": plan.triton_grpc,
        "MODEL_REPOSITORY": plan.model_repository,
        "MILVUS_URI": plan.milvus_uri,
        "POSTGRES_DSN": plan.postgres_dsn,
        "VALKEY_URL": plan.valkey_url,
        "S3_URL": plan.s3_url,
        "S3_BUCKET": BUCKET,
        "S3_CHANGES": plan.s3_changes,
    }
    if plan.tls:
        client = plan.certificates.client
        values |= {"TLS_CA_FILE": client.ca, "TLS_CERT_FILE": client.certificate, "TLS_KEY_FILE": client.key}
        gateway = plan.certificates.server("gateway")
        values |= {"GATEWAY_TLS_CERT_FILE": gateway.certificate, "GATEWAY_TLS_KEY_FILE": gateway.key}
        values["TLS_ADDRESSES"] = ",".join(f"{LOOPBACK}:{ports[name]}" for name in ("gateway", "s3"))
        values |= {"S3_CHANGES_CA": client.ca, "S3_CHANGES_CERT": client.certificate, "S3_CHANGES_KEY": client.key}
    if lite:
        # The client would otherwise offer milvus-lite a password that it does not know.
        values["MILVUS_PASSWORD"] = ""
    return "".join(f"VISUALSEARCH_{name}={value}\n" for name, value in values.items())


def gateway(plan: StackPlan) -> Service:
    """Run the gateway: ready when all its dependencies are ready, alive as long as it answers requests."""
    url = plan.gateway_url
    environment = _environment(plan) | {"PROMETHEUS_MULTIPROC_DIR": str(plan.home / "run" / "gateway")}
    sockets = ["gateway", GATEWAY_INSIDE]
    if plan.listeners:
        environment["VISUALSEARCH_GATEWAY_SOCKETS"] = json.dumps([plan.listeners[name] for name in sockets])
    ask = functools.partial(probes.http, tls=plan.certificates.client if plan.tls else None)
    return Service(
        "gateway",
        [sys.executable, "-m", "gateway"],
        functools.partial(ask, f"{url}/ready"),
        {"url": url, "grpc": f"{LOOPBACK}:{plan.ports['gateway_grpc']}", "metrics": f"{url}/metrics"},
        alive=functools.partial(ask, f"{url}/health"),
        env=environment,
        cwd=ROOT,
        sockets=sockets,
        ports=["gateway", "gateway_grpc"],
        forks=True,
    )


def indexer(plan: StackPlan) -> Service:
    """Run the indexer, which touches a file as its heartbeat."""
    beat: Path = plan.home / "run" / "indexer.heartbeat"
    port = plan.ports["indexer_metrics"]
    return Service(
        "indexer",
        [sys.executable, "-m", "indexer"],
        functools.partial(probes.heartbeat, beat),
        {"metrics": f"http://{LOOPBACK}:{port}/metrics"},
        env=_environment(plan) | {"VISUALSEARCH_INDEXER_METRICS_PORT": str(port)},
        cwd=ROOT,
        prepare=lambda: beat.unlink(missing_ok=True),
    )


def relay(plan: StackPlan) -> Service:
    """Forward connections from the published ports to the servers that cannot be given an open socket.

    With TLS, the relay ends it, for the stack's own processes too, which connect to sockets inside.
    """
    names = [name for name in plan.listeners if name not in {"gateway", GATEWAY_INSIDE}]
    routes = [f"{plan.listeners[name]}:{LOOPBACK}:{_target(plan, name.removesuffix(INSIDE))}" for name in names]
    words = [f"--certificates={plan.certificates.folder}"] if plan.tls else []
    shown = dict.fromkeys(_port(plan.ports, name.removesuffix(INSIDE)) for name in names)
    return Service(
        "relay",
        [sys.executable, "-m", "compose.relay", *words, *routes],
        lambda: None,  # the supervisor cannot connect from outside; a relay that ends is started again
        {"ports": " ".join(map(str, shown))},
        cwd=ROOT,
        sockets=names,
    )


def _target(plan: StackPlan, name: str) -> str:
    """Return the port that a published port leads to, and what is spoken there if the relay ends TLS."""
    if not plan.tls or name not in PROTOCOLS:
        return str(_port(plan.ports, name))
    if name == FILER_CHANGES:
        return f"{plan.own_port('weed_filer') + GRPC_OFFSET}:{PROTOCOLS[name]}"
    own = plan.own_port(name) if f"{name}_plain" in plan.ports.numbers else plan.ports[name]
    return f"{own}:{PROTOCOLS[name]}"


def _port(ports: Ports, name: str) -> int:
    return ports["weed_filer"] + GRPC_OFFSET if name == FILER_CHANGES else ports[name]


def milvus_lite(plan: StackPlan) -> Service:
    """Serve milvus-lite, for platforms without a Milvus wheel."""
    port = str(plan.own_port("milvus"))
    uri = f"http://{LOOPBACK}:{port}"
    data = plan.data("milvus-lite")
    argv = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(data), "--host", LOOPBACK, "--port", port]
    probe = functools.partial(probes.milvus, uri, "")
    return Service("milvus", argv, probe, {"uri": plan.milvus_uri}, cwd=ROOT, ports=["milvus"])


def _environment(plan: StackPlan) -> dict[str, str]:
    return {"VISUALSEARCH_HOME": str(plan.home), "VISUALSEARCH_GATEWAY_HOST": LOOPBACK, **FEW_ARENAS}
