"""Subscriptions to topics of Amazon SNS.

SNS cannot show a token. Its signature says that a message is its own, and the topic's name that it comes from ours.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from typing_extensions import override

from visualsearch.adapters.sns.certificates import Certificates
from visualsearch.adapters.sns.envelope import Envelope, Type
from visualsearch.adapters.sns.https import get
from visualsearch.domain.errors import Unauthenticated
from visualsearch.domain.topics import Topic, TopicMessage
from visualsearch.ports import TopicVerifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import httpx

log = logging.getLogger(__name__)

DIGESTS = {"1": SHA1, "2": SHA256}
"""SNS signs with SHA-1 unless the topic's SignatureVersion is 2."""
MAX_AGE = timedelta(hours=2)
"""SNS stops retrying a delivery after an hour."""
MAX_AHEAD = timedelta(minutes=5)


class SnsTopics(TopicVerifier):
    """Accepts messages of these topics. ``transport`` replaces the network in tests."""

    def __init__(
        self,
        topics: Iterable[Topic],
        transport: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._topics = {topic.arn: topic for topic in topics}
        self._transport = transport
        self._certificates = Certificates(transport)
        self._now = now

    @override
    async def open(self, body: Mapping[str, object]) -> TopicMessage:
        envelope = Envelope.parse(body)
        arn = envelope.fields["TopicArn"]
        topic = self._topics.get(arn)
        if topic is None:
            raise Unauthenticated(
                f"Messages of {arn[:300]!r} are not accepted: an operator names topics in VISUALSEARCH_SNS_TOPICS."
            )
        await self._verify(envelope, topic)
        if envelope.type is Type.CONFIRMATION:
            await self._confirm(envelope, topic)
        elif envelope.type is Type.UNSUBSCRIBED:
            log.warning("the subscription to %s has ended: changes of the bucket are found by the sweep alone", arn)
        return TopicMessage(arn, envelope.fields["Message"] if envelope.type is Type.NOTIFICATION else "")

    async def _verify(self, envelope: Envelope, topic: Topic) -> None:
        """Raise ``Unauthenticated`` unless SNS has signed the message lately."""
        age = self._now() - envelope.sent_at
        if not -MAX_AHEAD < age < MAX_AGE:
            raise Unauthenticated(f"The message is of {envelope.fields['Timestamp'][:40]}: messages expire after 2 h.")
        digest = DIGESTS.get(envelope.fields["SignatureVersion"])
        if digest is None:
            raise Unauthenticated("The message is signed in a way that is not known: SignatureVersion 1 and 2 are.")
        key = await self._certificates.key(envelope.fields["SigningCertURL"], topic)
        try:
            key.verify(envelope.signature, envelope.signed, PKCS1v15(), digest())
        except InvalidSignature:
            raise Unauthenticated("The signature of the message is not SNS': send it as SNS delivered it.") from None

    async def _confirm(self, envelope: Envelope, topic: Topic) -> None:
        """Confirm a subscription. The address is made here: the one in the message could be any."""
        asked = {"Action": "ConfirmSubscription", "TopicArn": topic.arn, "Token": envelope.fields["Token"]}
        await get(f"https://{topic.host}/?{urlencode(asked)}", self._transport)
        log.info("the subscription to %s is confirmed", topic.arn)
