"""The gateway's entry point: `python -m gateway` runs one process per core behind one port."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.credentials import requires_keys
from gateway.host_policy import check_address, cors_origins
from gateway.process.worker_group import FOLDER
from visualsearch.domain.errors import ConfigurationError
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from gateway.process.worker_group import WorkerGroup


def main() -> None:
    """Load and check the settings, empty the folder that the processes share, and serve."""
    try:
        settings = Settings.load()
        if tls := settings.gateway_tls:
            tls.context()
        check_address(settings, requires_keys(settings))
        origins = cors_origins(settings, requires_keys(settings))
    except (ConfigurationError, OSError) as error:
        sys.exit(f"The gateway cannot start. {error}")
    folder = Path(os.environ.get(FOLDER) or tempfile.mkdtemp(prefix="visualsearch-gateway-"))
    os.environ[FOLDER] = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        left.unlink()
    # Import only now: prometheus_client reads the variable when it is imported.
    from gateway.api.app import create_app
    from gateway.main import with_servers
    from gateway.process.workers import Workers

    def create(group: WorkerGroup) -> FastAPI:
        return create_app(with_servers(settings, group), root_path=settings.root_path, origins=origins)

    try:
        Workers(settings, folder, create).run()
    except ConfigurationError as error:
        sys.exit(f"The gateway cannot start. {error}")


if __name__ == "__main__":
    main()
