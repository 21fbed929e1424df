"""Dependencies of the routes: the gateway and the authenticated caller."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from gateway.caller import Caller, Role
from gateway.service import Gateway

BEARER = HTTPBearer(auto_error=False, description="An API key. Required if the operator has configured keys.")


def gateway_of(request: Request) -> Gateway:
    """Return the gateway of this process."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def needs(role: Role) -> Any:  # noqa: ANN401 - as Depends itself
    """Return a dependency that checks key, role and rate limit before the rest of the request is parsed."""

    async def caller(request: Request, _key: Annotated[object, Security(BEARER)]) -> Caller:
        access = gateway_of(request).access
        caller = access.caller(request.headers, role)
        await access.limit(caller, request.client.host if request.client else "")
        return caller

    return Depends(caller)


Reader = Annotated[Caller, needs(Role.READ)]
Writer = Annotated[Caller, needs(Role.WRITE)]
AdminCaller = Annotated[Caller, needs(Role.ADMIN)]
