"""Every alarm is tested and documented, and every dashboard panel is complete."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from compose import dashboards, kubernetes_alerts
from tests.conftest import missing

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "compose" / "observability"
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
BOARDS = sorted((FOLDER / "grafana" / "dashboards").glob("*.json"))


def run(*words):
    tool = shutil.which(words[0]) or missing(
        f"{words[0]}, of the Debian packages prometheus and prometheus-alertmanager,"
    )
    done = subprocess.run([tool, *words[1:]], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alarm_fires_when_it_should_and_only_then():
    run("promtool", "test", "rules", "alerts_test.yml")


def test_the_configurations_are_read_without_complaint():
    run("promtool", "check", "config", "prometheus.yml")
    run("amtool", "check-config", "alertmanager.yml")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alarm_is_tested_and_has_a_runbook(rule):
    tests = {test["name"] for test in yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]}
    assert {f"{rule['alert']} fires", f"{rule['alert']} is silent"} <= tests
    assert rule["labels"]["severity"] in {"page", "warning"}
    file, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^## (.+)$", (ROOT / file).read_text(), re.MULTILINE)
    assert anchor in [heading.lower() for heading in headings]


def test_every_runbook_belongs_to_an_alarm():
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in RULES]


def test_the_dashboards_are_those_of_the_tables(tmp_path):
    dashboards.write(tmp_path)
    assert [file.name for file in BOARDS] == sorted(file.name for file in tmp_path.iterdir())
    for file in BOARDS:
        assert file.read_text() == (tmp_path / file.name).read_text(), "run `python -m compose.dashboards`"


@pytest.mark.parametrize("file", BOARDS, ids=lambda file: file.stem)
def test_a_dashboard_is_complete(file):
    board = json.loads(file.read_text())
    provisioned = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/prometheus.yml").read_text())
    sources = {source["uid"] for source in provisioned["datasources"]}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len({panel["title"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        assert panel["datasource"]["uid"] in sources
        assert panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])
    used = set(re.findall(r"\$([a-z]\w*)", file.read_text()))
    assert used == {variable["name"] for variable in board["templating"]["list"]}


def test_dashboards_have_addresses_of_their_own():
    uids = [json.loads(file.read_text())["uid"] for file in BOARDS]
    assert len(set(uids)) == len(uids)


def test_kubernetes_has_the_same_alarms():
    assert kubernetes_alerts.MANIFEST.read_text() == kubernetes_alerts.manifest(), (
        "run `python -m compose.kubernetes_alerts`"
    )
