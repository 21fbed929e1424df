"""How many connections a process keeps, in all and for one network, and how fast new ones are served."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from gateway.limits.caller_limits import network_of

if TYPE_CHECKING:
    from collections.abc import Callable

WASTED_A_SECOND = 50.0
"""Connections of one network that end without a request that was admitted, before new ones must wait."""
LATER_S = 1.0
NETWORKS = 10_000
"""Networks whose wasted connections are counted; the one seen least recently is forgotten first."""


class Connections:
    """Counts the connections of a process: at most ``most`` in all, and ``most_each`` from one network.

    ``proxies`` are the addresses whose connections carry the requests of many, as uvicorn's ``forwarded_allow_ips``
    names them. Only those of other machines are exempt from the limits of one network.

    A client that reconnects after a refusal escapes the pause of the refused connection. Connections that end without
    an admitted request are therefore counted, and new connections of a network that has too many of them wait.
    """

    def __init__(
        self, most: int, most_each: int, proxies: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._most_each = most_each
        self._proxies = _networks(proxies)
        self._clock = clock
        self._open: Counter[str] = Counter()
        self._wasted: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def enter(self, address: str) -> str:
        """Count a new connection. Return ``""``, or why it is refused and what to do; then it is not counted."""
        if self._open.total() >= self._most:
            return "The gateway has as many connections as it can keep. Try again shortly."
        network = network_of(address)
        if self._open[network] >= self._most_each and not self._is_proxy(address):
            return (
                f"Your network has {self._most_each} connections here, which is the limit. Close some, or reuse them."
            )
        self._open[network] += 1
        return ""

    def leave(self, address: str, *, wasted: bool) -> None:
        """Count a connection no longer. It was ``wasted`` if no request of it was admitted."""
        network = network_of(address)
        self._open[network] -= 1
        if not self._open[network]:
            del self._open[network]
        if wasted and not self._is_proxy(address):
            self._wasted[network] = (self._left(network) - 1, self._clock())
            self._wasted.move_to_end(network)
            if len(self._wasted) > NETWORKS:
                self._wasted.popitem(last=False)

    def delay_s(self, address: str) -> float:
        """Return how long a new connection must wait because its network wastes so many."""
        return LATER_S if self._left(network_of(address)) < 1 else 0.0

    def _left(self, network: str) -> float:
        """Return how many connections a network may waste at once."""
        left, last = self._wasted.get(network, (WASTED_A_SECOND, 0.0))
        return max(0.0, min(WASTED_A_SECOND, left + (self._clock() - last) * WASTED_A_SECOND))

    def _is_proxy(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(network_of(address) if "." in address else address)
        except ValueError:
            return False
        return not ip.is_loopback and any(ip in network for network in self._proxies)


def _networks(text: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    found: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for part in text.split(","):
        if part.strip() == "*":
            return [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
        try:
            found.append(ipaddress.ip_network(part.strip()))
        except ValueError:  # uvicorn permits names of sockets too
            continue
    return found
