"""Generate the Grafana dashboards from the tables of panels: `python -m compose.dashboards` rewrites their JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compose.dashboard_panels import INDEXING, RELEASES, SEARCH, STAGE_OF, STAGES, STORES

if TYPE_CHECKING:
    from compose.dashboard_panels import Panel

FOLDER = Path(__file__).parent / "observability" / "grafana" / "dashboards"
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS, WIDTH, HEIGHT = 3, 8, 8
"""Panels per row, and the size of a panel in units of Grafana's 24-column grid."""

DASHBOARDS = {
    "search": ("Search", SEARCH),
    "indexing": ("Indexing", INDEXING),
    "stores": ("Servers and stores", STORES),
    "releases": ("Releases and experiments", RELEASES),
}


def dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard in Grafana's JSON model."""
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"visualsearch-{name}",
        "title": title,
        "tags": ["visual-search"],
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "title": "visual-search", "tags": ["visual-search"], "asDropdown": True}],
        "templating": {"list": [_releases()] if any(STAGE_OF in str(panel.queries) for panel in panels) else []},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _releases() -> dict[str, Any]:
    query = f"label_values({STAGES}_count, release)"
    return {
        "name": "release",
        "label": "Release",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": "release"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": DATASOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": DATASOURCE, "expr": query, "legendFormat": legend}
            for place, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def write(folder: Path = FOLDER) -> None:
    """Write the JSON of every dashboard to a folder."""
    for name in DASHBOARDS:
        (folder / f"{name}.json").write_text(json.dumps(dashboard(name), indent=1) + "\n")


if __name__ == "__main__":
    write()
