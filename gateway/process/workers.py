"""Runs the gateway's processes behind one port. gunicorn forks and drains them, and replaces those that die or hang."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from prometheus_client.multiprocess import mark_process_dead
from uvicorn import Server
from uvicorn_worker import UvicornWorker

from gateway.limits.connections import Connections
from gateway.process.limited_connection import LimitedConnection
from gateway.process.worker_group import SHUTDOWN_S, WorkerGroup, cores
from visualsearch.observability.metrics import configure_logging
from visualsearch.tls import ServerTLS, keep_current

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from fastapi import FastAPI
    from gunicorn.config import Config

    from visualsearch.settings import Settings

PROXIES = "FORWARDED_ALLOW_IPS"
"""Environment variable of the proxies that are trusted; uvicorn defines it."""
HANGS_S = 30
"""A process whose event loop has been blocked for this long is killed."""
MORE_S = 4
"""Time after ``SHUTDOWN_S`` to close connections and finish deferred writes."""
KEEP_ALIVE_S = 65
"""Keep idle connections longer than usual proxies do, so that the proxy closes first and no request is lost."""
ON_ITS_WAY_S = 0.3
"""How long to wait at shutdown for the first bytes on new connections; uvicorn alone would close those at once."""
BACKLOG = 512
"""Maximum number of connections that wait to be accepted while every process is busy."""


class Log(Logger):
    """Sends the logs of gunicorn and uvicorn to the gateway's log."""

    def setup(self, cfg: Config) -> None:
        """Use the root logger's handlers instead of gunicorn's own."""
        super().setup(cfg)
        self.error_log.handlers = logging.getLogger().handlers
        self.error_log.setLevel(logging.WARNING)


class Draining(Server):
    """A server that still reads requests on newly accepted connections when it receives the signal to stop."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting connections, wait for requests in transit on the open ones, then shut down."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(ON_ITS_WAY_S)
        await super().shutdown(sockets)


class GatewayWorker(UvicornWorker):  # type: ignore[misc]
    """One worker process: uvicorn on uvloop. On shutdown, requests in flight have ``SHUTDOWN_S`` to finish."""

    CONFIG_KWARGS: dict[str, Any] = {  # noqa: RUF012 - as in the base class
        "access_log": False,
        "timeout_graceful_shutdown": SHUTDOWN_S,
    }

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        renewing = self._encrypt()
        server = Draining(self.config)
        self._install_sigquit_handler()
        await server.serve(self.sockets)
        if renewing:
            renewing.cancel()
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def _encrypt(self) -> asyncio.Task[None] | None:
        """Serve TLS if there is a certificate; return the task that loads renewed ones."""
        if not self.cfg.is_ssl:
            return None
        options = self.cfg.ssl_options
        authority = options["ca_certs"]
        tls = ServerTLS(Path(options["certfile"]), Path(options["keyfile"]), Path(authority) if authority else None)
        context = tls.context()
        self.config.ssl_context_factory = lambda *_: context
        return asyncio.create_task(keep_current([context], tls))


class Workers(BaseApplication):
    """The parent process. It imports the app before it forks, so that the workers share the memory of the modules."""

    def __init__(self, settings: Settings, folder: Path, create: Callable[[WorkerGroup], FastAPI]) -> None:
        self._create = create
        self._settings = settings
        self._worker_group = WorkerGroup(folder, settings.gateway_workers or cores())
        processes = self._worker_group.size
        connections = Connections(
            max(1, settings.max_connections // processes),
            max(1, settings.max_connections_per_address // processes),
            os.environ.get(PROXIES, ""),
        )
        # gunicorn makes the workers, and takes their class by its name.
        GatewayWorker.CONFIG_KWARGS["http"] = partial(LimitedConnection, connections=connections)
        configure_logging(settings.log_level, settings.log_format)
        super().__init__()

    def load_config(self) -> None:
        """Pass the settings to gunicorn."""
        options = {
            "bind": self._addresses(),
            "workers": self._worker_group.size,
            "worker_class": f"{__name__}.GatewayWorker",
            "logger_class": Log,
            "preload_app": True,
            "timeout": HANGS_S,
            "graceful_timeout": SHUTDOWN_S + MORE_S,
            "keepalive": KEEP_ALIVE_S,
            "backlog": BACKLOG,
            "control_socket_disable": True,
            "child_exit": self._remove_worker,
            "on_exit": self._clean,
        }
        if tls := self._settings.gateway_tls:
            authority = str(tls.client_ca) if tls.client_ca else None
            options |= {"certfile": str(tls.certificate), "keyfile": str(tls.key), "ca_certs": authority}
        for name, value in options.items():
            self.cfg.set(name, value)

    def _addresses(self) -> list[str]:
        inherited = [f"fd://{number}" for number in self._settings.gateway_sockets]
        return inherited or [f"{self._settings.gateway_host}:{self._settings.gateway_port}"]

    def load(self) -> FastAPI:
        """Build the app. Each process opens its own connections to the servers after the fork."""
        return self._create(self._worker_group)

    def _remove_worker(self, _parent: Arbiter, worker: GatewayWorker) -> None:
        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
        self._worker_group.leave(worker.pid)

    def _clean(self, _parent: Arbiter) -> None:
        shutil.rmtree(self._worker_group.folder, ignore_errors=True)
