"""Records an act in the audit log while it happens."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from visualsearch.domain.audit import AuditEntry
from visualsearch.domain.errors import VisualSearchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from visualsearch.domain.audit import Action
    from visualsearch.ports import AuditLog

log = logging.getLogger(__name__)

DONE = "done"
MAX_OUTCOME = 300
"""Characters of an outcome."""


@asynccontextmanager
async def audited(
    audit_log: AuditLog, actor: str, action: Action, subject: str, request_id: str = ""
) -> AsyncIterator[None]:
    """Record the act inside the block: first that it begins, then how it ended.

    Raises ``Unavailable``, before the block, if the act cannot be recorded: what nobody can account for is not done.
    """
    entry = AuditEntry(actor=actor, action=action, subject=subject, request_id=request_id)
    await audit_log.begin(entry)
    outcome = DONE
    try:
        yield
    except VisualSearchError as error:
        outcome = f"failed: {error}"[:MAX_OUTCOME]
        raise
    except BaseException as error:
        outcome = f"failed: {type(error).__name__}"
        raise
    finally:
        try:
            await audit_log.end(entry.id, outcome)
        except VisualSearchError as error:
            log.warning("the outcome of %s %s by %s was not recorded: %s", action, subject, actor, error)
