"""The audit log: who did what to the system, and how it ended."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

SHORTEST_DAYS = 365
"""The audit log keeps each entry for at least a year: the database itself refuses to delete a younger one."""


class Action(StrEnum):
    """What is recorded. Changes of releases are not among them: ``release_history`` records those, and is shown too."""

    DELETE_IMAGE = "image.delete"
    DELETE_IMAGES = "image.delete-many"
    CHANGE_IMAGE = "image.change"
    MARK_NOT_DUPLICATES = "not-duplicates.mark"
    UNMARK_NOT_DUPLICATES = "not-duplicates.unmark"
    RETRY_DEAD_LETTERS = "dead-letters.retry"
    CREATE_EXPERIMENT = "experiment.create"
    START_EXPERIMENT = "experiment.start"
    STOP_EXPERIMENT = "experiment.stop"
    CREATE_KEY = "key.create"
    REVOKE_KEY = "key.revoke"
    ROTATE_KEY = "key.rotate"
    REPAIR = "stores.repair"
    BACK_UP = "stores.back-up"
    RESTORE = "stores.restore"
    EXPORT_INDEX = "index.export"
    IMPORT_INDEX = "index.import"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One act. ``actor`` is the owner of a key, or the user and machine of a command; ``subject`` is what was changed.

    ``outcome`` is ``done``, or ``failed: `` and the reason; empty while the act goes on, or if its process ended first.
    ``request_id`` is the one of the HTTP answer and of the logs; empty for a command. No field ever holds a secret.
    """

    id: uuid.UUID = field(default_factory=uuid.uuid4)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    actor: str
    action: str
    subject: str
    request_id: str = ""
    outcome: str = ""
