"""Who calls the gateway, and what that caller may see. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from visualsearch.domain.images import Visibility

if TYPE_CHECKING:
    from visualsearch.domain.images import Image


class Role(IntEnum):
    """What a key opens; each role includes the ones before it."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """The author of a request. ``owner`` is empty for a caller without a key, who owns nothing.

    ``sees_everything`` is true where no keys are configured, so that everybody is the operator.
    """

    owner: str
    role: Role
    sees_everything: bool = False

    def owns(self, owner: str) -> bool:
        """Return whether the private things of ``owner`` are this caller's to see."""
        return self.sees_everything or self.owner == owner

    def may_see(self, image: Image) -> bool:
        """Return whether this caller may know of an image: a public one, or its own."""
        return image.visibility is Visibility.PUBLIC or self.owns(image.owner)


OPERATOR = Caller("", Role.ADMIN, sees_everything=True)
"""Everybody, where no keys are configured."""
