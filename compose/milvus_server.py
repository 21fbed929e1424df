"""Milvus standalone as a plain process: embedded etcd, local storage, rocksmq."""

from __future__ import annotations

import functools
import re
import shutil
from typing import TYPE_CHECKING

import yaml

from compose import probes
from compose.servers import Service
from compose.state import LOOPBACK

if TYPE_CHECKING:
    from pathlib import Path

    from compose.stack_plan import StackPlan

PARTS = (
    "root_coord",
    "proxy_internal",
    "query_coord",
    "query_node",
    "index_coord",
    "index_node",
    "data_coord",
    "data_node",
)
"""The components with configurable internal ports."""


def milvus(plan: StackPlan) -> Service:
    """Milvus standalone with embedded etcd, local storage and rocksmq.

    ``localStorage.path`` must be relative. With an absolute path, a search that returns vectors deletes their binlogs.
    """
    unpacked = plan.server_binaries / "milvus" / "milvus" / "data"
    data = plan.data("milvus")
    uri = f"http://{LOOPBACK}:{plan.own_port('milvus')}"
    password = plan.secrets["MILVUS_PASSWORD"]
    env = {
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "DEPLOY_MODE": "STANDALONE",
        "METRICS_PORT": str(plan.ports["milvus_metrics"]),
        "MILVUSCONF": str(data / "configs"),
        "LD_LIBRARY_PATH": str(unpacked / "bin"),
    }
    return Service(
        "milvus",
        [str(unpacked / "bin" / "milvus"), "run", "standalone"],
        functools.partial(probes.milvus, uri, password),
        {"uri": plan.milvus_uri, "metrics": f"http://{LOOPBACK}:{plan.ports['milvus_metrics']}/metrics"},
        env=env,
        cwd=data,
        prepare=lambda: _configure(plan, unpacked, data),
        stop_s=12.0,
        # After a restart it may be unavailable until its old sessions expire.
        patience_s=40.0,
        ports=["milvus"],
        binds_all=True,
        barrier=False,
    )


def _configure(plan: StackPlan, unpacked: Path, data: Path) -> None:
    configs = data / "configs"
    configs.mkdir(exist_ok=True)
    etcd_client, etcd_peer = (f"http://{LOOPBACK}:{plan.ports[name]}" for name in ("etcd", "etcd_peer"))
    etcd = {
        "name": "embedded",
        "data-dir": "etcd",
        "listen-client-urls": etcd_client,
        "advertise-client-urls": etcd_client,
        "listen-peer-urls": etcd_peer,
        "initial-advertise-peer-urls": etcd_peer,
        "initial-cluster": f"embedded={etcd_peer}",
        "auto-compaction-mode": "revision",
        "auto-compaction-retention": "1000",
        "log-level": "warn",
    }
    (configs / "embedEtcd.yaml").write_text(yaml.safe_dump(etcd))
    (configs / "milvus.yaml").write_text(_main_config(plan, unpacked / "config.yaml.template"))
    shutil.copy2(unpacked / "glog.conf", configs)


def _main_config(plan: StackPlan, template: Path) -> str:
    values = {
        "etcd_port": plan.ports["etcd"],
        "etcd_data_dir": "etcd",
        "local_storage_dir": "data",
        "rocksmq_data_dir": "rocksmq",
        "system_log_path": '""',
        "authorization_enabled": "true",
        "proxy_port": plan.own_port("milvus"),
        **{f"{name}_port": plan.ports[name] for name in PARTS},
    }

    def fill(field: re.Match[str]) -> str:
        name, _, default = field[1].partition(":")
        return str(values.get(name.split("(")[0].strip(), default.strip()))

    config = yaml.safe_load(re.sub(r"\{\{(.*?)\}\}", fill, template.read_text()))
    config["etcd"]["endpoints"] = f"{LOOPBACK}:{plan.ports['etcd']}"
    config["etcd"]["config"] = {"path": str(plan.data("milvus") / "configs" / "embedEtcd.yaml")}
    config["log"]["level"] = "warn"
    # Milliseconds. Writes become visible with the next tick; this is a fifth of the default.
    config["proxy"]["timeTickInterval"] = 200
    # Search rows without an index exhaustively. The interim index always probes an eighth of its lists, whatever the
    # search asks for, and never returns a row of the others.
    config["queryNode"]["segcore"]["interimIndex"]["enableIndex"] = False
    # Maximum delay in seconds before searches use the index of a sealed segment. The default of ten saves work in a
    # coordinator of many nodes; with one node there is no measurable difference in CPU.
    config["queryCoord"]["UpdateNextTargetInterval"] = 1
    # Every response contains the candidates' vectors, but the live Go heap is small. The default collects garbage at
    # three times the live heap, which takes a fifth of the CPU. Near the memory limit it still collects as often.
    config["queryNode"]["gchelper"] = {"enabled": True, "minimumGoGC": 30, "maximumGoGC": 800}
    config["common"]["gracefulStopTimeout"] = 10
    # Seconds until the sessions of a killed predecessor expire.
    config["common"]["session"]["ttl"] = 10
    for part in ("rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode"):
        config[part]["ip"] = LOOPBACK
    return yaml.safe_dump(config)
