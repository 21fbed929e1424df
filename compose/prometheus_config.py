"""A Prometheus configuration for a running local stack: that of compose/observability, with this stack's addresses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from compose import runner
from compose.certificates import Certificates
from compose.launch import ON_REQUEST
from compose.state import read_state
from visualsearch.domain.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from visualsearch.tls import ClientTLS

FOLDER = Path(__file__).parent / "observability"
ALERTMANAGER = "127.0.0.1:9093"
"""The default address of Debian's Alertmanager."""


def local_config(home: Path) -> str:
    """Return the configuration as YAML. Raises ``Unavailable`` if no stack runs."""
    processes = runner.status(home)
    if not processes:
        raise Unavailable("The local stack", "`visualsearch up --detach` starts it")
    if not runner.reachable(home, ON_REQUEST["metrics"]):
        raise ConfigurationError(
            "The servers' metrics are reachable from inside the stack only. `visualsearch up --publish metrics` opens "
            "them, and with them Milvus' REST API, to every user of this machine."
        )
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["rule_files"] = [str(FOLDER / "alerts.yml")]
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [ALERTMANAGER]}]}]
    client = Certificates(home / "tls").client if read_state(home).get("tls") else None
    jobs = [_job(one["job_name"], processes, client) for one in config["scrape_configs"]]
    config["scrape_configs"] = [job for job in jobs if job is not None]
    return yaml.safe_dump(config, sort_keys=False)


def _job(name: str, processes: Mapping[str, Mapping[str, Any]], client: ClientTLS | None) -> dict[str, Any] | None:
    address = urlsplit(processes.get(name, {}).get("metrics", ""))
    if not address.netloc:
        return None
    job = {"job_name": name, "metrics_path": address.path, "static_configs": [{"targets": [address.netloc]}]}
    if client is None:
        return job
    files = {"ca_file": client.ca, "cert_file": client.certificate, "key_file": client.key}
    # Also where a process says http: from outside the stack, all metrics are behind the relay.
    return job | {"scheme": "https", "tls_config": {key: str(file) for key, file in files.items()}}
