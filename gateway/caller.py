"""The caller of a request and its permissions. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from visualsearch.domain.access import Scope
from visualsearch.domain.images import Visibility

if TYPE_CHECKING:
    from visualsearch.domain.images import Image


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request. ``owner`` is empty for a caller without a key, who owns nothing.

    ``key_id`` is the id of the key in Postgres that the caller has shown, if it is one of those.
    ``sees_everything`` is true if no keys are required, because then every caller is the operator.
    """

    owner: str
    scopes: frozenset[Scope]
    sees_everything: bool = False
    key_id: str = ""

    @property
    def name(self) -> str:
        """Whom the audit log names: the owner, with the key if it has an id; empty without a key."""
        return f"{self.owner} (key {self.key_id})" if self.key_id else self.owner

    @property
    def is_admin(self) -> bool:
        """Whether this caller may manage the data of all owners."""
        return Scope.ADMIN in self.scopes

    def may(self, scope: Scope) -> bool:
        """Return whether this caller may make the calls of a scope; an administrator may make all."""
        return self.is_admin or scope in self.scopes

    def owns(self, owner: str) -> bool:
        """Return whether this caller may see private data of ``owner``; an administrator's is what has no owner."""
        return self.sees_everything or (self.owner == owner if owner else self.is_admin)

    @property
    def owners(self) -> frozenset[str] | None:
        """Whose private data this caller may see; None for everybody's."""
        if self.sees_everything:
            return None
        return frozenset({self.owner, ""} if self.is_admin else {self.owner})

    def may_see(self, image: Image) -> bool:
        """Return whether this caller may see an image: a public one or its own."""
        return image.visibility is Visibility.PUBLIC or self.owns(image.owner)

    def may_change(self, image: Image) -> bool:
        """Return whether this caller may change or delete an image: its own, or as an administrator any."""
        return self.is_admin or self.owner == image.owner


OPERATOR = Caller("", frozenset(Scope), sees_everything=True)
"""Every caller, if no keys are required."""
