"""Write the Kubernetes manifest of compose/observability/alerts.yml: `python -m compose.kubernetes_alerts`."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "compose" / "observability" / "alerts.yml"
MANIFEST = ROOT / "k8s" / "base" / "alerts.yaml"
HEAD = (
    "# Written by `python -m compose.kubernetes_alerts` from compose/observability/alerts.yml, which explains them.\n"
)


def manifest() -> str:
    """Return a PrometheusRule with the same groups."""
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "visual-search", "namespace": "visual-search"},
        "spec": yaml.safe_load(RULES.read_text()),
    }
    return HEAD + yaml.safe_dump(rule, sort_keys=False, width=1000)


if __name__ == "__main__":
    MANIFEST.write_text(manifest())
