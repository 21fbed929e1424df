"""The local stack: start, stop and look at it, and prepare its stores."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connections import migrate_schema, with_stores
from cli.console import out, print_json
from visualsearch.domain.errors import ConfigurationError
from visualsearch.initialize import initialize
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from types import ModuleType


def _local_stack() -> tuple[ModuleType, ModuleType]:
    """Return ``compose.runner`` and ``compose.prometheus_config``.

    The container image lacks them, since its servers are containers of their own.
    """
    try:
        from compose import prometheus_config, runner
    except ImportError:
        raise ConfigurationError("The local servers are not part of this image: run this in a checkout.") from None
    return runner, prometheus_config


def up(
    *,
    detach: Annotated[bool, typer.Option(help="Return when all is ready; the servers go on.")] = False,
    lite: Annotated[bool, typer.Option(help="ONNX Runtime in process and milvus-lite, for other platforms.")] = False,
    publish: Annotated[
        list[str] | None,
        typer.Option(help="Open triton, milvus, seaweedfs or metrics to every user of this machine. Repeatable."),
    ] = None,
    tls: Annotated[
        bool, typer.Option(help="Encrypt all connections, with certificates of the stack's own authority.")
    ] = False,
    accept_open_servers: Annotated[
        bool,
        typer.Option(
            help="Start without a private network: every user of this machine can use every server.",
            envvar="VISUALSEARCH_ACCEPT_OPEN_SERVERS",
        ),
    ] = False,
) -> None:
    """Start the local servers, the indexer and the gateway; what they hold is kept from one start to the next."""
    runner, _ = _local_stack()
    options = runner.Options(lite=lite, publish=publish or (), tls=tls, accept_open_servers=accept_open_servers)
    raise typer.Exit(runner.up(Settings.load().home, options, detach=detach))


def down() -> None:
    """Stop everything that `up` started."""
    runner, _ = _local_stack()
    raise typer.Exit(runner.down(Settings.load().home))


def status(*, json: Annotated[bool, typer.Option("--json", help="One object per process.")] = False) -> None:
    """Say what runs: pid, port, uptime, memory, health."""
    runner, _ = _local_stack()
    home = Settings.load().home
    if not json:
        runner.print_status(home)
        return
    print_json(runner.status(home))


def logs(
    name: Annotated[str | None, typer.Argument(help="A process, such as milvus; all of them when left out.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they grow.")] = False,
) -> None:
    """Show what the processes have written."""
    runner, _ = _local_stack()
    runner.logs(Settings.load().home, name, lines, follow)


def prometheus() -> None:
    """Print a Prometheus configuration that scrapes the running local stack, with the alarms."""
    _, prometheus_config = _local_stack()
    sys.stdout.write(prometheus_config.local_config(Settings.load().home))


def init() -> None:
    """Make the stores ready: schema, bucket, stream group, collection and first release. Harmless when done before."""
    settings = Settings.load()
    migrate_schema()
    live = with_stores(lambda stores: initialize(stores, settings))
    out.print(f"Release {live.name} is live: model version {live.model_version}, collection {live.collection}.")
