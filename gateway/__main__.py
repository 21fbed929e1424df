"""The gateway: `python -m gateway` runs one process per core behind one port."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from visualsearch.settings import Settings

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own name for the folder through which processes add their metrics up."""


def main() -> None:
    """Read the settings and serve, with a fresh folder for what the processes tell each other."""
    settings = Settings.load()
    folder = Path(os.environ.setdefault(FOLDER, tempfile.mkdtemp(prefix="visualsearch-gateway-")))
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        left.unlink()
    # Only now: metrics look for the folder while they are imported.
    from gateway.workers import Workers

    Workers(settings, folder).run()


if __name__ == "__main__":
    main()
