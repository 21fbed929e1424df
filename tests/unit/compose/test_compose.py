"""The compose file is valid, pinned, closed to the outside, and consistent with the local stack."""

import json
import re
import subprocess
import tomllib

import pytest
import yaml
from compose_spec import PyCompose
from cryptography import x509

from compose.probes import HEARTBEAT_S
from compose.state import GRPC_OFFSET, SECRETS, USUAL_PORTS
from tests.deployment import COMPOSE, DIGEST, PREFIX, ROOT, SETTINGS, compose, is_pinned
from visualsearch.adapters.valkey.event_stream import PROBE
from visualsearch.domain.images import IMAGE_SIDE
from visualsearch.settings import Settings
from visualsearch.tls import ServerTLS

SERVICES = compose()["services"]
SECRET = re.compile(r"(PASSWORD|_KEY|TOKEN)(__FILE|_FILE)?$")
OURS = ("gateway", "indexer", "init")


def parsed(spec):
    # Its references have a tag or a digest; ours have both, which every engine takes.
    return PyCompose.from_json(DIGEST.sub("", json.dumps(spec)))


def test_it_keeps_to_the_compose_specification():
    assert set(parsed(compose()).service_names()) == set(SERVICES)
    gpu = yaml.safe_load((COMPOSE.parent / "gpu.yml").read_text())
    assert set(gpu["services"]) == {"triton"}
    parsed({"services": {"triton": SERVICES["triton"] | gpu["services"]["triton"]}})


@pytest.mark.parametrize("word", ["read_onyl", "networkz"])
def test_an_unknown_key_is_detected(word):
    with pytest.raises(ValueError, match=word):
        parsed({"services": {"a": {"image": "a:1.0", word: True}}})


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_pinned_contained_and_watched(name):
    service = SERVICES[name]
    assert is_pinned(service["image"]), service["image"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert service["deploy"]["resources"]["limits"]["pids"]
    assert service["logging"]["options"]["max-size"]
    assert name == "init" or service["healthcheck"]["test"][0] == "CMD"


def test_only_the_proxy_is_open_to_the_world_and_consoles_to_this_machine():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.pop("proxy") == ["80:10080", "443:10443"]
    assert set(published) == {"attu", "prometheus", "alertmanager", "grafana", "jaeger"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert compose()["networks"]["back"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if "edge" in service["networks"]} == {"proxy", "gateway"}


def make_secrets(folder):
    command, path = [COMPOSE.parent / "make-secrets"], "/usr/local/bin:/usr/bin:/bin"
    subprocess.run(command, env={"PATH": path, "SECRETS_DIR": folder}, check=True)


def test_the_file_contains_no_secret_and_make_secrets_writes_each_one(tmp_path):
    make_secrets(tmp_path)
    written = {file.name for file in tmp_path.iterdir()}
    assert written == set(compose()["secrets"])
    assert {secret for service in SERVICES.values() for secret in service.get("secrets", [])} == written
    assert {f"visualsearch_{name.lower()}" for name in SECRETS} <= written
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert not SECRET.search(name) or value.startswith(("/run/secrets/", "/run/tls/")), name
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    make_secrets(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_the_written_secrets_are_settings_that_load(tmp_path, monkeypatch):
    make_secrets(tmp_path)
    monkeypatch.setenv("VISUALSEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VISUALSEARCH_SECRETS_DIR", str(tmp_path))
    settings = Settings.load()
    for name in SERVICES["gateway"]["secrets"]:
        assert getattr(settings, name.removeprefix("visualsearch_")), name
    assert settings.api_keys.startswith("operator:admin:")


def test_every_setting_exists():
    used = {name for service in SERVICES.values() for name in service.get("environment", {}) if name.startswith(PREFIX)}
    used |= {name.upper() for name in compose()["secrets"] if name.startswith(PREFIX.lower())}
    used.remove("VISUALSEARCH_POSTGRES_ADMIN_PASSWORD")  # for Postgres alone: no process of ours may know it
    assert used <= SETTINGS, used - SETTINGS


def test_addresses_are_services_with_the_ports_of_the_local_stack():
    ports = USUAL_PORTS
    addresses = {
        "TRITON_GRPC": f"grpcs://triton:{ports['triton_grpc']}",
        "TRITON_URL": f"http://triton:{ports['triton_http']}",
        "MILVUS_URI": f"https://milvus:{ports['milvus']}",
        "POSTGRES_DSN": f"postgresql://visualsearch@postgres:{ports['postgres']}/visualsearch"
        "?sslmode=verify-full&sslrootcert=/run/tls/ca.crt",
        "VALKEY_URL": f"rediss://valkey:{ports['valkey']}/0",
        "S3_URL": f"https://s3:{ports['s3']}",
        "S3_CHANGES": f"s3:{ports['weed_filer'] + GRPC_OFFSET}",
        "S3_BUCKET": Settings.model_fields["s3_bucket"].default,
    }
    for name in OURS:
        environment = SERVICES[name]["environment"]
        assert {key: environment[f"VISUALSEARCH_{key}"] for key in addresses} == addresses, name
    assert str(ports["indexer_metrics"]) == SERVICES["indexer"]["environment"]["VISUALSEARCH_INDEXER_METRICS_PORT"]
    triton = " ".join(SERVICES["triton"]["command"])
    for kind in ("http", "grpc", "metrics"):
        assert f"--{kind}-port={ports[f'triton_{kind}']}" in triton
    assert f"--load-model={Settings.model_fields['model_name'].default}" in triton


def test_the_servers_ask_for_a_certificate():
    triton = " ".join(SERVICES["triton"]["command"])
    assert "--grpc-use-ssl-mutual=true" in triton
    assert "--grpc-root-cert=/run/tls/ca.crt" in triton
    valkey = SERVICES["valkey"]["command"][-1]
    assert "--port 0 --tls-port 6379 --tls-auth-clients yes --tls-ca-cert-file /run/tls/ca.crt" in valkey
    assert SERVICES["milvus"]["environment"]["COMMON_SECURITY_TLSMODE"] == "2"
    # Postgres cannot: libpq refuses a key that others can read, and each container reads its own as another user.
    rules = (COMPOSE.parent / "postgres" / "pg_hba.conf").read_text()
    allowed = [line.split() for line in rules.splitlines() if not line.startswith("#")]
    assert {rule[0] for rule in allowed} == {"local", "hostssl"}
    assert {rule[-1] for rule in allowed if rule[0] == "hostssl"} == {"scram-sha-256"}
    security = tomllib.loads((COMPOSE.parent / "seaweedfs" / "security.toml").read_text())
    assert security["grpc"].pop("ca") == "/run/tls/ca.crt"
    assert set(security["grpc"]) == {"master", "volume", "filer", "s3", "client"}


def test_the_probes_are_those_of_the_local_stack():
    checks = {name: " ".join(service["healthcheck"]["test"]) for name, service in SERVICES.items() if name != "init"}
    assert f":{USUAL_PORTS['gateway']}/ready" in checks["gateway"]
    assert f"> {HEARTBEAT_S:g}" in checks["indexer"]
    assert PROBE in checks["valkey"]
    infer = (COMPOSE.parent / "triton" / "infer.py").read_text()
    assert f'MODEL, SIDE, DIM, TIMEOUT_S = "image_encoder", {IMAGE_SIDE}, 256' in infer


def test_everything_waits_for_what_it_needs():
    assert set(SERVICES["init"]["depends_on"]) == {"milvus", "postgres", "s3", "triton", "valkey"}
    for name in ("gateway", "indexer"):
        assert SERVICES[name]["depends_on"]["init"]["condition"] == "service_completed_successfully"
    assert SERVICES["proxy"]["depends_on"]["gateway"]["condition"] == "service_healthy"


def make_certificates(folder):
    command, path = [COMPOSE.parent / "make-certificates"], "/usr/local/bin:/usr/bin:/bin"
    subprocess.run(command, env={"PATH": path, "CERTIFICATES_DIR": folder}, check=True)
    return folder


def test_certificates_name_their_service_and_are_made_again_when_they_are_due(tmp_path):
    made = make_certificates(tmp_path)
    authority = x509.load_pem_x509_certificate((made / "authority.crt").read_bytes())
    assert made.stat().st_mode & 0o077 == 0
    assert (made / "authority.key").stat().st_mode & 0o077 == 0
    folders = [folder for folder in made.iterdir() if folder.is_dir()]
    assert {"gateway", "indexer", "proxy"} <= {folder.name for folder in folders}
    for folder in folders:
        certificate = x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())
        certificate.verify_directly_issued_by(authority)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [folder.name, "localhost"]
        ServerTLS(folder / "tls.crt", folder / "tls.key", folder / "ca.crt").context()
    before = {folder.name: (folder / "tls.crt").read_bytes() for folder in folders}
    ended = ["-subj", "/CN=gateway", "-days", "1", "-key", made / "gateway" / "tls.key", "-out"]
    subprocess.run(["openssl", "req", "-x509", *ended, made / "gateway" / "tls.crt"], check=True)
    make_certificates(made)
    changed = {folder.name for folder in folders if (folder / "tls.crt").read_bytes() != before[folder.name]}
    assert changed == {"gateway"}
    renewed = x509.load_pem_x509_certificate((made / "gateway" / "tls.crt").read_bytes())
    renewed.verify_directly_issued_by(authority)


def test_every_mounted_file_exists(tmp_path):
    made = make_certificates(tmp_path)
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./certificates/"):
                names = {file.name for file in (made / source.removeprefix("./certificates/")).iterdir()}
                assert names == {"ca.crt", "tls.crt", "tls.key"}, source
                assert volume.endswith(":/run/tls:ro"), volume
            elif source.startswith("."):
                assert (COMPOSE.parent / source).exists(), source
                assert volume.endswith(":ro"), volume
            else:
                assert source in compose()["volumes"]


def test_the_example_environment_names_what_compose_reads_with_its_defaults():
    read = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE.read_text()))
    lines = (COMPOSE.parent / ".env.example").read_text().splitlines()
    assert dict(line.split("=", 1) for line in lines if line and not line.startswith("#")) == read


def test_the_image_has_the_version_of_the_project():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {SERVICES[name]["image"] for name in OURS} == {f"visual-search:{version}"}
