"""What one caller may take of this process and this machine: requests in progress, work, and turns."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.limits.costs import BASE_MS, BYTE_MS, PIXEL_MS
from visualsearch.domain.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gateway.limits.fair_queue import FairQueue
    from gateway.limits.work_budget import WorkBudget

IPV6_PREFIX = 64
"""Bits of an IPv6 address that tell networks apart. Who has a network has all the addresses below them."""
BUSY_S = 1.0


def network_of(address: str) -> str:
    """Return what tells anonymous callers apart: the IPv4 address, or the /64 of an IPv6 address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, IPV6_PREFIX), strict=False).network_address)
    return str(ip)


def is_loopback(address: str) -> bool:
    """Return whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(network_of(address)).is_loopback or address == "::1"
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Account:
    """What the work of one request is charged to.

    ``caller`` is the owner of the key, or the network of a caller without one. ``line`` is who waits in the queue: the
    same, but the single connection where everybody has this machine's address and no key.
    """

    caller: str
    line: str
    budget: WorkBudget | None = None
    turns: FairQueue | None = None

    def charge(self, cost_ms: float) -> None:
        """Charge milliseconds of work that is done for the request."""
        if self.budget is not None:
            self.budget.take(self.caller, cost_ms)

    def charge_body(self, size: int) -> None:
        """Charge a body of ``size`` bytes."""
        self.charge(size * BYTE_MS)

    def charge_picture(self, cost: int) -> None:
        """Charge the decoding of a picture, by what ``decoding_cost`` says. Threads may call this."""
        self.charge(cost * PIXEL_MS)
        if self.turns is not None:
            self.turns.charge(self.line, cost * PIXEL_MS)

    async def pace(self, cost_ms: float) -> None:
        """Charge work, and wait until it may begin; raises ``RateLimited`` if that would take long.

        It waits for work that the caller requested earlier. A caller with one request at a time does not wait.
        """
        if self.budget is None:
            return
        if refused_s := self.budget.wait_s(self.caller):
            raise too_much(refused_s)
        wait_s = self.budget.pace_s(self.caller)
        self.budget.take(self.caller, cost_ms)
        if wait_s:
            await asyncio.sleep(wait_s)

    @asynccontextmanager
    async def turn(self, cost_ms: float, *, local: bool = False) -> AsyncIterator[None]:
        """Wait for the turn of work that ``pace`` charged, and hold it while the block runs.

        ``local`` as in ``FairQueue.turn``.
        """
        if self.turns is None:
            yield
            return
        async with self.turns.turn(self.line, cost_ms, local=local):
            yield


def too_much(wait_s: float) -> RateLimited:
    """Return the error of a caller that must wait because it takes more than its share."""
    return RateLimited(
        f"You take more than your share of this gateway, and others call too: try again in {wait_s:.1f} s.", wait_s
    )


NOBODY = Account("", "")
"""What work is charged to that no request causes."""
_current: ContextVar[Account] = ContextVar("account", default=NOBODY)


def current_account() -> Account:
    """Return what the work of the current request is charged to."""
    return _current.get()


class CallerLimits:
    """Admits the requests of callers. ``most`` is how many of one caller may be in progress in this process."""

    def __init__(self, budget: WorkBudget, turns: FairQueue, most: int) -> None:
        self._budget = budget
        self._turns = turns
        self._most = most
        self._in_progress: Counter[str] = Counter()

    @contextmanager
    def request(self, owner: str, address: str, port: int, line: str = "") -> Iterator[Account]:
        """Count a request while the block runs, and charge it; raises ``RateLimited``.

        The base cost is charged before the body is read, and the rest as it becomes known. ``line`` is given where the
        requests of many connections are counted together.
        """
        caller = f"owner {owner}" if owner else network_of(address)
        line = line or (f"{address} {port}" if not owner and is_loopback(address) else caller)
        if self._in_progress[line] >= self._most:
            raise RateLimited(
                f"You have {self._most} requests in progress here, which is the limit: wait for their answers.", BUSY_S
            )
        self._budget.note(caller)
        wait_s = self._budget.wait_s(caller)
        if wait_s:
            self._budget.take(caller, BASE_MS)
            raise too_much(wait_s)
        account = Account(caller, line, self._budget, self._turns)
        account.charge(BASE_MS)
        self._in_progress[line] += 1
        token = _current.set(account)
        try:
            yield account
        finally:
            _current.reset(token)
            self._in_progress[line] -= 1
            if not self._in_progress[line]:
                del self._in_progress[line]
