"""Decodes pictures, with a bounded queue. Depends on no framework and no server."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from gateway.limits.caller_limits import current_account
from visualsearch.domain.errors import Overloaded
from visualsearch.imaging.preprocessing import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from visualsearch.domain.images import Box, Decoded
    from visualsearch.imaging.picture_pool import PicturePool

T = TypeVar("T")

BUSY = 2
"""With more pictures in progress than this, background work is skipped."""


class Decoder:
    """Runs work on pictures in ``pool``; at most ``max_waiting`` pictures are in progress at once."""

    def __init__(self, pool: PicturePool, max_waiting: int) -> None:
        self._pool = pool
        self._max_waiting = max_waiting
        self._in_hand = 0

    @property
    def busy(self) -> bool:
        """Whether pictures wait for a thread."""
        return self._in_hand > BUSY

    async def decode(self, data: bytes, box: Box | None = None) -> Decoded:
        """Decode a picture, or a box inside it; raises what ``preprocessing.decode`` raises, and ``Overloaded``."""
        return await self.run(decode, data, box)

    async def run(self, work: Callable[..., T], *values: object) -> T:
        """Run work on a picture's bytes, and charge it to the caller.

        Raises ``Overloaded`` if too many pictures are in progress.
        """
        if self._in_hand >= self._max_waiting:
            raise Overloaded("Too many pictures wait to be decoded. Try again shortly.")
        self._in_hand += 1
        try:
            return await self._pool.run(work, *values, weigh=current_account().charge_picture)
        finally:
            self._in_hand -= 1
