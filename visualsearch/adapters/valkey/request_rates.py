"""Request rates by caller, in Valkey, so that all gateways share one limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visualsearch.adapters.valkey.valkey_client import ValkeyClient

if TYPE_CHECKING:
    from visualsearch.tls import ClientTLS

TIMEOUT_S = 0.5
"""Longest time that a request waits to be counted."""
KEY = "visualsearch:rate:"

# GCRA, the generic cell rate algorithm (ITU-T I.371), by Valkey's own clock. A caller's key holds the time at which its
# allowance is full again, and expires then. Numbers are returned as text, because Lua's are truncated to integers.
SCRIPT = """
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local whole = math.max(now, tonumber(redis.call('GET', KEYS[1]) or now))
local wait = whole + interval - now - burst * interval
if wait > 1e-6 then
  return string.format('%.6f', wait)
end
whole = whole + interval
redis.call('SET', KEYS[1], string.format('%.6f', whole), 'PX', math.ceil((whole - now) * 1000) + 1)
return '0'
"""


class ValkeyRequestRates(ValkeyClient):
    """Limits each caller to ``rate`` requests a second, with bursts of up to one second's worth."""

    def __init__(self, url: str, password: str, rate: float, tls: ClientTLS | None = None) -> None:
        super().__init__(url, password, TIMEOUT_S, tls)
        self._take = self._redis.register_script(SCRIPT)
        self._interval, self._burst = 1 / rate, max(1.0, rate)

    async def take(self, who: str) -> float:
        """Take one request from a caller's allowance; return 0, or the seconds to wait if none is left.

        Raises ``Unavailable``.
        """
        async with self._deadline():
            return float(await self._take(keys=[KEY + who], args=[self._interval, self._burst]))
