"""The supervised processes of this project, and the server addresses that they read from the state folder."""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING

from compose import probes
from compose.launch import FILER_CHANGES, GATEWAY_INSIDE
from compose.servers import BUCKET, Service, StackPlan
from compose.state import GRPC_OFFSET, LOOPBACK
from visualsearch.settings import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def addresses(plan: StackPlan, lite: bool) -> str:
    """Return the text of ``stack.env``: the addresses of this stack's servers, as settings."""
    ports = plan.ports
    values = {
        "URL": f"http://{LOOPBACK}:{ports['gateway']}",
        "GATEWAY_PORT": ports["gateway"],
        "GATEWAY_GRPC_PORT": ports["gateway_grpc"],
        "ENCODER": "onnx" if lite else "triton",
        "TRITON_URL": f"http://{LOOPBACK}:{ports['triton_http']}",
        "TRITON_GRPC": f"{LOOPBACK}:{ports['triton_grpc']}",
        "MODEL_REPOSITORY": plan.model_repository,
        "MILVUS_URI": f"http://{LOOPBACK}:{ports['milvus']}",
        "POSTGRES_DSN": f"postgresql://visualsearch@{LOOPBACK}:{ports['postgres']}/visualsearch",
        "VALKEY_URL": f"redis://{LOOPBACK}:{ports['valkey']}/0",
        "S3_URL": f"http://{LOOPBACK}:{ports['s3']}",
        "S3_BUCKET": BUCKET,
        "S3_CHANGES": f"{LOOPBACK}:{ports['weed_filer'] + GRPC_OFFSET}",
    }
    if lite:
        # The client would otherwise offer milvus-lite a password that it does not know.
        values["MILVUS_PASSWORD"] = ""
    return "".join(f"VISUALSEARCH_{name}={value}\n" for name, value in values.items())


def gateway(plan: StackPlan) -> Service:
    """Run the gateway: ready when all its dependencies are ready, alive as long as it answers requests."""
    url = f"http://{LOOPBACK}:{plan.ports['gateway']}"
    environment = _environment(plan) | {"PROMETHEUS_MULTIPROC_DIR": str(plan.home / "run" / "gateway")}
    sockets = ["gateway", GATEWAY_INSIDE]
    if plan.listeners:
        environment["VISUALSEARCH_GATEWAY_SOCKETS"] = json.dumps([plan.listeners[name] for name in sockets])
    return Service(
        "gateway",
        [sys.executable, "-m", "gateway"],
        functools.partial(probes.http, f"{url}/ready"),
        {"url": url, "grpc": f"{LOOPBACK}:{plan.ports['gateway_grpc']}", "metrics": f"{url}/metrics"},
        alive=functools.partial(probes.http, f"{url}/health"),
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
        [sys.executable, "-m", "indexer.main"],
        functools.partial(probes.heartbeat, beat),
        {"metrics": f"http://{LOOPBACK}:{port}/metrics"},
        env=_environment(plan) | {"VISUALSEARCH_INDEXER_METRICS_PORT": str(port)},
        cwd=ROOT,
        prepare=lambda: beat.unlink(missing_ok=True),
    )


def relay(plan: StackPlan) -> Service:
    """Forward connections from the published ports to the servers that cannot be given an open socket."""
    ports = plan.ports.numbers | {FILER_CHANGES: plan.ports["weed_filer"] + GRPC_OFFSET}
    names = [name for name in plan.listeners if name not in {"gateway", GATEWAY_INSIDE}]
    routes = [f"{plan.listeners[name]}:{LOOPBACK}:{ports[name]}" for name in names]
    return Service(
        "relay",
        [sys.executable, "-m", "compose.relay", *routes],
        lambda: None,  # the supervisor cannot connect from outside; a relay that ends is started again
        {"ports": " ".join(str(ports[name]) for name in names)},
        cwd=ROOT,
        sockets=names,
    )


def milvus_lite(plan: StackPlan) -> Service:
    """Serve milvus-lite, for platforms without a Milvus wheel."""
    uri = f"http://{LOOPBACK}:{plan.ports['milvus']}"
    data = plan.data("milvus-lite")
    port = str(plan.ports["milvus"])
    argv = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(data), "--host", LOOPBACK, "--port", port]
    return Service("milvus", argv, functools.partial(probes.milvus, uri, ""), {"uri": uri}, cwd=ROOT, ports=["milvus"])


def _environment(plan: StackPlan) -> dict[str, str]:
    return {"VISUALSEARCH_HOME": str(plan.home), "VISUALSEARCH_GATEWAY_HOST": LOOPBACK}
