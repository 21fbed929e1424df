"""Messages of a topic, as a publish-subscribe service delivers them. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from visualsearch.domain.errors import InvalidInput

ARN = re.compile(r"arn:(aws|aws-cn|aws-us-gov):sns:([a-z0-9-]{3,40}):\d{12}:[\w-]{1,256}(\.fifo)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of Amazon SNS: its name (ARN), and the host that answers for its region."""

    arn: str
    host: str

    @classmethod
    def parse(cls, arn: str) -> Self:
        """Parse a topic's ARN. Raises ``InvalidInput``."""
        match = ARN.fullmatch(arn)
        if match is None:
            raise InvalidInput(f"{arn[:200]!r} is no topic: arn:aws:sns:REGION:ACCOUNT:NAME is expected.")
        partition, region = match[1], match[2]
        return cls(arn, f"sns.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}")


@dataclass(frozen=True, slots=True)
class TopicMessage:
    """A message that is certain to come from a topic. ``text`` is empty if it concerns the subscription alone."""

    topic: str
    text: str = ""
