"""Debian's Prometheus and Alertmanager beside a running local stack, with short intervals."""

import shutil
import socket
import subprocess
from contextlib import ExitStack, contextmanager

import httpx
import yaml

from compose.prometheus_config import FOLDER
from tests.conftest import missing
from tests.eventually import eventually_sync

EVERY = "1s"
FOR = "2s"
"""What an alarm waits for, in place of minutes."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


@contextmanager
def program(name, *words, log):
    """Run a server until the block ends."""
    binary = shutil.which(name) or missing(f"{name}, of Debian's packages,")
    with log.open("wb") as output, subprocess.Popen([binary, *words], stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()


def _json(answer):
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        raise NotReady(answer.text)
    return answer.json()


class NotReady(Exception):
    """Prometheus or Alertmanager answers 503 while it loads its files."""


class Monitoring:
    """A Prometheus that scrapes a stack every second, and an Alertmanager that it tells."""

    def __init__(self, prometheus, alertmanager):
        self._prometheus = httpx.Client(base_url=f"{prometheus}/api/v1/", timeout=10)
        self._alertmanager = httpx.Client(base_url=f"{alertmanager}/api/v2/", timeout=10)

    def ask(self, path, **parameters):
        answer = _json(self._prometheus.get(path, params=parameters))
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        return self.ask("query", query=expression)["result"]

    def firing(self):
        """Alarms that Alertmanager shows, by name and the server that they name."""
        alerts = _json(self._alertmanager.get("alerts"))
        return {(alert["labels"]["alertname"], alert["labels"].get("server", "")) for alert in alerts}

    def until(self, condition, wait_s=90):
        """Wait until something is so. Both servers may still be starting, so that their errors mean "not yet"."""
        return eventually_sync(condition, wait_s, every_s=0.2, errors=(httpx.TransportError, NotReady))

    def close(self):
        self._prometheus.close()
        self._alertmanager.close()


@contextmanager
def watching(running, folder):
    """Watch a stack by the configuration that `visualsearch prometheus` prints."""
    printed = running.command("prometheus")
    assert printed.returncode == 0, printed.stdout + printed.stderr
    prometheus, alertmanager = free_port(), free_port()
    config = yaml.safe_load(printed.stdout)
    config["global"] = {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY}
    for job in config["scrape_configs"]:
        if job["job_name"] == "gateway":  # it asks servers, and gives one that hangs some time
            job |= {"scrape_interval": "2s", "scrape_timeout": "2s"}
    config["rule_files"] = ["alerts.yml"]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{alertmanager}"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"] if group["name"] == "servers"):
        rule["for"] = FOR
    (folder / "alerts.yml").write_text(yaml.safe_dump(rules))
    with ExitStack() as stack:
        words = (f"--config.file={FOLDER / 'alertmanager.yml'}", f"--storage.path={folder / 'alertmanager'}")
        words += (f"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address=")
        stack.enter_context(program("prometheus-alertmanager", *words, log=folder / "alertmanager.log"))
        words = (f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'prometheus'}")
        words += (f"--web.listen-address=127.0.0.1:{prometheus}",)
        stack.enter_context(program("prometheus", *words, log=folder / "prometheus.log"))
        watch = Monitoring(f"http://127.0.0.1:{prometheus}", f"http://127.0.0.1:{alertmanager}")
        stack.callback(watch.close)
        yield watch
