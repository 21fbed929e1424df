"""The JSON in which SNS delivers a message, and the text in it that is signed.

The format is described in the Amazon SNS developer guide, "Verifying the signatures of Amazon SNS messages".
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from visualsearch.domain.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping


class Type(StrEnum):
    """Kinds of messages."""

    NOTIFICATION = "Notification"
    CONFIRMATION = "SubscriptionConfirmation"
    UNSUBSCRIBED = "UnsubscribeConfirmation"


SIGNED = {
    Type.NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    Type.CONFIRMATION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    Type.UNSUBSCRIBED: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
"""The fields that are signed, in this order. A notification may lack a subject."""
OTHERS = ("SignatureVersion", "Signature", "SigningCertURL")


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message as it came. Nothing in it is certain before its signature is verified."""

    type: Type
    fields: Mapping[str, str]
    sent_at: datetime
    signature: bytes

    @classmethod
    def parse(cls, body: Mapping[str, object]) -> Self:
        """Read the fields. Raises ``Unauthenticated`` if the body is no message of SNS."""
        try:
            kind = Type(str(body.get("Type")))
            names = SIGNED[kind] + OTHERS
            fields = {name: _text(body[name]) for name in names if name in body or name != "Subject"}
            sent_at = datetime.fromisoformat(fields["Timestamp"])
            if sent_at.tzinfo is None:
                raise ValueError("a time without a zone")
            return cls(kind, fields, sent_at, base64.b64decode(fields["Signature"], validate=True))
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise Unauthenticated("This is no signed message of SNS: leave raw message delivery off.") from None

    @property
    def signed(self) -> bytes:
        """The bytes that are signed."""
        return "".join(f"{name}\n{self.fields[name]}\n" for name in SIGNED[self.type] if name in self.fields).encode()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
