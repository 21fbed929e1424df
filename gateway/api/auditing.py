"""Records what callers change in the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.api.dependencies import address_of, gateway_of
from visualsearch import audit
from visualsearch.observability.log_format import request_id

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from fastapi import Request

    from gateway.caller import Caller
    from visualsearch.domain.audit import Action


def audited(request: Request, caller: Caller, action: Action, subject: str) -> AbstractAsyncContextManager[None]:
    """Record what is done inside the block; raises what ``visualsearch.audit.audited`` raises."""
    actor = caller.name or f"anybody at {address_of(request)}"
    return audit.audited(gateway_of(request).audit_log, actor, action, subject, request_id.get())
