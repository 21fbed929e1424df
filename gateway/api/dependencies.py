"""Dependencies of the routes: the gateway and the authenticated caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request, Security, params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from typing_extensions import override

from gateway.api.request_bodies import announced_bytes, with_json
from gateway.caller import Caller
from gateway.limits.costs import MISTAKE_MS
from gateway.process.limited_connection import CHARGED
from gateway.service import Gateway
from visualsearch.domain.access import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Response

    from gateway.limits.caller_limits import Account

BEARER = HTTPBearer(
    auto_error=False, description="An API key. Required unless the operator runs the gateway without keys."
)


def gateway_of(request: Request) -> Gateway:
    """Return the gateway of this process."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def address_of(request: Request) -> str:
    """Return the network address that a request comes from; empty if it is unknown."""
    return request.client.host if request.client else ""


def port_of(request: Request) -> int:
    """Return the port that a request comes from; 0 if it is unknown."""
    return request.client.port if request.client else 0


def needs(scope: Scope) -> Any:  # noqa: ANN401 - as Depends itself
    """Return a dependency that is the caller, whom ``GuardedRoute`` has let in."""

    async def caller(request: Request, _key: Annotated[object, Security(BEARER)]) -> Caller:
        admitted: Caller = request.state.caller
        return admitted

    _scopes[caller] = scope
    return Depends(caller)


_scopes: dict[object, Scope] = {}

SearchCaller = Annotated[Caller, needs(Scope.SEARCH)]
IngestCaller = Annotated[Caller, needs(Scope.INGEST)]
AdminCaller = Annotated[Caller, needs(Scope.ADMIN)]


class GuardedRoute(APIRoute):
    """A route that decides who may call it before the body is read.

    FastAPI reads the form before it calls any dependency: a stranger's upload would lie on the disk before the 401.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of FastAPI, behind the check of key, scope and rate limit."""
        handle = super().get_route_handler()
        scope = next((_scopes[one.call] for one in self.dependant.dependencies if one.call in _scopes), None)
        if scope is None:
            return handle
        has_json = self.body_field is not None and not isinstance(self.body_field.field_info, params.Form)

        async def guarded(request: Request) -> Response:
            gateway, address = gateway_of(request), address_of(request)
            request.state.caller = caller = await gateway.access.admit(request.headers, scope, address)
            with gateway.limits.request(caller.owner, address, port_of(request)) as account:
                request.scope[CHARGED] = True
                self.check(gateway, account)
                if has_json:
                    request = await with_json(request, account)
                else:
                    account.charge_body(announced_bytes(request))
                try:
                    return await handle(request)
                except RequestValidationError as error:
                    account.charge(len(error.errors()) * MISTAKE_MS)
                    raise

        return guarded

    def check(self, gateway: Gateway, account: Account) -> None:
        """Refuse a request for more than its caller's limits, before its body is read."""


class SearchRoute(GuardedRoute):
    """A route that refuses a search before its body is read if there are as many as can be answered in time."""

    @override
    def check(self, gateway: Gateway, account: Account) -> None:
        gateway.search.admission.check(account.caller)
