"""The caller of a request and its permissions. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from visualsearch.domain.images import Visibility

if TYPE_CHECKING:
    from visualsearch.domain.images import Image


class Role(IntEnum):
    """Role of an API key; each role includes the ones before it."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request. ``owner`` is empty for a caller without a key, who owns nothing.

    ``sees_everything`` is true if no keys are configured, because then every caller is the operator.
    """

    owner: str
    role: Role
    sees_everything: bool = False

    @property
    def is_admin(self) -> bool:
        """Whether this caller may manage the data of all owners."""
        return self.role >= Role.ADMIN

    def owns(self, owner: str) -> bool:
        """Return whether this caller may see private data of ``owner``; an administrator's is what has no owner."""
        return self.sees_everything or (self.owner == owner if owner else self.is_admin)

    def may_see(self, image: Image) -> bool:
        """Return whether this caller may see an image: a public one or its own."""
        return image.visibility is Visibility.PUBLIC or self.owns(image.owner)

    def may_change(self, image: Image) -> bool:
        """Return whether this caller may change or delete an image: its own, or as an administrator any."""
        return self.is_admin or self.owner == image.owner


OPERATOR = Caller("", Role.ADMIN, sees_everything=True)
"""Every caller, if no keys are configured."""
