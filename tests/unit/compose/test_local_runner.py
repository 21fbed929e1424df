"""The local runner's messages about stacks that do not run."""

import importlib.util
import json
import os

import pytest
import yaml

from compose import private_network, prometheus_config, renewal, runner, server_binaries
from compose.certificates import Certificates
from visualsearch.domain.errors import ConfigurationError


def write_state(home, **processes):
    (home / "run").mkdir()
    state = {"supervisor": {"pid": os.getpid(), "created": 0.0}, "shm_prefix": "vs_test_", "processes": processes}
    (home / "run" / "state.json").write_text(json.dumps(state))


def test_a_stopped_stack_has_no_status(tmp_path, capsys):
    assert runner.status(tmp_path) == {}
    runner.print_status(tmp_path)
    assert "Nothing is running" in capsys.readouterr().out


def test_stopping_nothing_is_fine(tmp_path, capsys):
    assert runner.down(tmp_path / "state") == 0
    assert "Nothing was running" in capsys.readouterr().out


def test_a_dead_process_is_not_ready_whatever_the_state_file_says(tmp_path):
    written = {"url": "http://127.0.0.1:8080", "created": 1.0, "ready": True, "restarts": 2, "health": "ok"}
    write_state(tmp_path, gateway={"pid": os.getpid(), **written})
    gateway = runner.status(tmp_path)["gateway"]
    assert not gateway["ready"]
    assert gateway["pid"] is None
    assert gateway["port"] == 8080
    assert gateway["restarts"] == 2


def test_asking_for_a_missing_log_lists_the_existing_ones(tmp_path, capsys):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "milvus.log").write_text("one\ntwo\n")
    runner.logs(tmp_path, "oracle", 10, follow=False)
    assert "milvus" in capsys.readouterr().out


def test_a_log_is_shown_from_its_end(tmp_path, capsys):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "milvus.log").write_text("one\ntwo\nthree\n")
    runner.logs(tmp_path, "milvus", 2, follow=False)
    shown = capsys.readouterr().out
    assert "two" in shown
    assert "three" in shown
    assert "one" not in shown


def test_lite_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"requirements/lite\.lock"):
        runner.up(tmp_path, runner.Options(lite=True), detach=True)


def test_an_unsupported_platform_starts_nothing(tmp_path, monkeypatch):
    def refuse(lite):
        raise ConfigurationError("not here")

    monkeypatch.setattr(server_binaries, "check_platform", refuse)
    with pytest.raises(ConfigurationError, match="not here"):
        runner.up(tmp_path, runner.Options(), detach=True)
    assert runner.status(tmp_path) == {}


def test_where_servers_cannot_be_private_the_option_is_required(tmp_path, monkeypatch):
    monkeypatch.setattr(private_network, "why_not", lambda: "unshare: Operation not permitted")
    monkeypatch.setattr(server_binaries, "ensure", lambda *_: pytest.fail("nothing may be started"))
    with pytest.raises(ConfigurationError, match=r"(?s)Operation not permitted.*--accept-open-servers"):
        runner.up(tmp_path, runner.Options(), detach=True)


def test_only_servers_that_are_known_can_be_published(tmp_path):
    with pytest.raises(ConfigurationError, match="etcd: only triton, milvus, seaweedfs, metrics"):
        runner.up(tmp_path, runner.Options(publish=["etcd"]), detach=True)


def test_tls_wants_a_network_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(server_binaries, "check_platform", lambda _: None)
    with pytest.raises(ConfigurationError, match="--accept-open-servers"):
        runner.up(tmp_path, runner.Options(tls=True, accept_open_servers=True), detach=True)


def test_certificates_are_shown_and_renewed_only_where_there_are_some(tmp_path):
    with pytest.raises(ConfigurationError, match="up --tls"):
        renewal.ends(tmp_path)
    with pytest.raises(ConfigurationError, match="up --tls"):
        renewal.renew(tmp_path)
    certificates = Certificates(tmp_path / "tls")
    certificates.ensure()
    assert set(renewal.ends(tmp_path)) == {"ca", "servers", "gateway", "client"}


def test_prometheus_scrapes_a_stack_with_tls_by_tls(tmp_path):
    at = {"metrics": "https://127.0.0.1:8080/metrics", "created": 1.0, "ready": True, "health": "ok", "restarts": 0}
    write_state(tmp_path, gateway={"pid": None, **at})
    plain = yaml.safe_load(prometheus_config.local_config(tmp_path))["scrape_configs"]
    assert not [job for job in plain if "tls_config" in job]
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    (tmp_path / "run" / "state.json").write_text(json.dumps(state | {"tls": True}))
    (job,) = yaml.safe_load(prometheus_config.local_config(tmp_path))["scrape_configs"]
    assert job["scheme"] == "https"
    assert job["tls_config"]["ca_file"] == str(tmp_path / "tls" / "ca.pem")
