"""The messages of the queues, one schema each.

A message may lie in a queue while the programs around it are updated. So a new field needs a default, and no field
changes its name or its meaning.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from visualsearch.domain.indexing import DeadLetter, Delivery, Event, EventKind
from visualsearch.domain.interactions import Click, Interaction, Search

MAX_IMAGE_ID = 10**18
"""Image ids stay below this, so that they fit 64 bits."""


def _check_uuid(text: str) -> str:
    uuid.UUID(text)
    return text


class _InteractionMessage(BaseModel):
    """An entry of the interaction queue, as JSON. ``id`` and ``at`` have no default: a repeat must be recognized."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    query_image_id: int
    user: int | None = None
    id: Annotated[str, AfterValidator(_check_uuid)]
    at: datetime


class SearchMessage(_InteractionMessage):
    """A ``Search`` on its way to Postgres."""

    kind: Literal["search"] = "search"
    release: str
    shown: tuple[int, ...]
    picture: bool = False
    box: str = ""
    blob_key: str = ""
    variants: dict[str, str] = Field(default_factory=dict)
    owner: str = ""


class ClickMessage(_InteractionMessage):
    """A ``Click`` on its way to Postgres."""

    kind: Literal["click"] = "click"
    displayed_image_id: int
    rank: int
    checked: bool = True
    owner: str = ""


_ANY_INTERACTION: TypeAdapter[SearchMessage | ClickMessage] = TypeAdapter(
    Annotated[SearchMessage | ClickMessage, Field(discriminator="kind")]
)


class EventMessage(BaseModel):
    """An entry of the stream of indexing events, as fields of text. An empty field is the same as a missing one."""

    kind: EventKind
    uri: Annotated[str, Field(pattern=r"^[^\x00]*$")]
    image_id: Annotated[
        Annotated[int, Field(ge=0, lt=MAX_IMAGE_ID)] | None, BeforeValidator(lambda text: text or None)
    ] = None
    etag: str = ""
    traceparent: str = ""


class DeadLetterMessage(BaseModel):
    """What an entry of the dead letters has beside the fields of its event."""

    reason: str
    deliveries: int
    died_at: datetime


def encode_interaction(interaction: Interaction) -> str:
    """Serialize an interaction as JSON."""
    message = SearchMessage if isinstance(interaction, Search) else ClickMessage
    return message.model_validate(interaction).model_dump_json()


def decode_interaction(text: str) -> Interaction | None:
    """Parse the output of ``encode_interaction``; return None if the text has another form."""
    try:
        message = _ANY_INTERACTION.validate_json(text)
    except ValidationError:
        return None
    values = dict(message)
    return Search(**values) if values.pop("kind") == "search" else Click(**values)


def encode_event(event: Event) -> dict[str, Any]:
    """Return the fields of an event's entry."""
    # Not validated: an event of any form is written, and the indexer gives the unusable ones to the dead letters.
    return EventMessage.model_construct(**asdict(event)).model_dump(mode="json", exclude_defaults=True)


def decode_event(fields: dict[str, str]) -> Event:
    """Parse the fields of an event's entry; a malformed one becomes an event without a uri."""
    try:
        return Event(**dict(EventMessage.model_validate(fields)))
    except ValidationError:
        return Event(EventKind.CREATED, "")


def encode_dead_letter(delivery: Delivery, reason: str, died_at: datetime) -> dict[str, Any]:
    """Return the fields of a dead letter: those of its event, the reason, the number of deliveries, and the time."""
    letter = DeadLetterMessage(reason=reason, deliveries=delivery.deliveries, died_at=died_at)
    return encode_event(delivery.event) | letter.model_dump(mode="json")


def decode_dead_letter(entry_id: str, fields: dict[str, str]) -> DeadLetter:
    """Parse the output of ``encode_dead_letter``."""
    letter = DeadLetterMessage.model_validate(fields)
    return DeadLetter(entry_id, decode_event(fields), **dict(letter))
