"""Serves the app below a path of a host, such as /vs, whether the proxy in front strips that path or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visualsearch.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send


class RootPath:
    """Removes the root path from the addresses of requests that carry it."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        if scope["type"] == "http" and f"{scope['path']}/".startswith(f"{self._root_path}/"):
            # In place, because the connection looks at the same scope.
            scope["path"] = scope["path"].removeprefix(self._root_path) or "/"
        await self._app(scope, receive, send)


def check_root_path(root_path: str, addresses: Iterable[str]) -> None:
    """Raise ``ConfigurationError`` if one of our own addresses begins as the root path does.

    Nobody could tell then whether a proxy has stripped it.
    """
    first = root_path.split("/")[1]
    if first in {address.split("/")[1] for address in addresses}:
        raise ConfigurationError(
            f"VISUALSEARCH_ROOT_PATH is {root_path!r}, and addresses of the API begin with /{first} too. Choose "
            "another name."
        )


def public_address(app: FastAPI, path: str) -> str:
    """Return an address of this app as clients must write it."""
    return f"{app.state.root_path}{path}"
