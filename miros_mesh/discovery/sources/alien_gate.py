"""`AlienGate`: which claims of unknown nodes are worth a scout."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from miros_mesh.address import Endpoint
from miros_mesh.discovery.addresses import RFC_4193, is_rfc_1918, lan_is_off
from miros_mesh.errors import AddressError
from miros_mesh.observer import Observer

# Any holder of our key can claim what it likes; each adopted broker costs a publisher.
MOST_ADOPTED: Final = 64
# Claims whose time is kept, so that false ones cost a bounded memory.
REMEMBERED: Final = 1024
# The same claim comes with each hello and each beat of a node.
AGAIN_AFTER_S: Final = 60.0
MOST_WAITING: Final = 64
# A scout logs in with our credentials: one a second, after a burst that suits a small mesh's start.
BURST: Final = 10
PER_SECOND: Final = 1.0


def private_address(address: IPv4Address | IPv6Address) -> bool:
    """Return whether a claim may send a scout, and so our credentials, to an address.

    Private ones only (RFC 1918, RFC 4193); where the local network is switched off, loopback only.
    """
    if lan_is_off():
        # Only this host: several brokers on it, as in a test, still find each other.
        return address.is_loopback
    if isinstance(address, IPv4Address):
        return is_rfc_1918(address)
    return address in RFC_4193


class AlienGate:
    """Admits claims at a bounded rate; safe to call from any thread, and cheap.

    A claim that comes too early waits for its turn: hosts that start together make their claims at
    once, and perhaps not again for long.
    """

    def __init__(
        self,
        port: int,
        *,
        is_known: Callable[[Endpoint], bool] = lambda _: False,
        allowed: Callable[[IPv4Address | IPv6Address], bool] = private_address,
        observer: Observer | None = None,
        now: Callable[[], float] = time.monotonic,
        most_adopted: int = MOST_ADOPTED,
    ) -> None:
        self._port = port
        self._is_known = is_known
        self._allowed = allowed
        self._observer = observer or Observer()
        self._now = now
        self._most_adopted = most_adopted
        # Guards all fields below.
        self._lock = threading.Lock()
        # When each claim was last looked at, by its text, the oldest first.
        self._seen: OrderedDict[str, float] = OrderedDict()
        # Adopted and not lost. Scouts under way may bring it above `most_adopted`.
        self._adopted: set[Endpoint] = set()
        # Claims that came too early, in order and each once.
        self._waiting: OrderedDict[Endpoint, None] = OrderedDict()
        # Whether the chart has been asked to call `turn`, and has not yet.
        self._turn_due = False
        # How many scouts may go at once, and since when; it fills up to `BURST`.
        self._budget, self._filled_at = float(BURST), now()

    def admit(self, claim: str) -> Endpoint | None:
        """Return the endpoint to scout; None when this claim is not worth it, or not now."""
        # The lock is taken twice, and not held in between: one broker claimed in two spellings may
        # pass twice, and the batch scouts it once.
        if not self._is_news(claim):
            return None
        endpoint = self._checked(claim)
        if endpoint is None:
            return self._refused("not_allowed")
        return None if self._is_known(endpoint) else self._in_turn(endpoint)

    def needs_turn(self) -> bool:
        """Return whether claims wait and the caller is to see that `turn` is called."""
        with self._lock:
            needed = bool(self._waiting) and not self._turn_due
            # Of all threads that ask at once, one posts the event that sets the alarm.
            self._turn_due |= needed
            return needed

    def turn(self) -> Endpoint | None:
        """Return the endpoint of a claim that has waited; None while it is too early for one."""
        with self._lock:
            self._turn_due = False
            # Found by another source while it waited: it costs no turn.
            for endpoint in [each for each in self._waiting if self._is_known(each)]:
                del self._waiting[endpoint]
            if not self._waiting or not self._afford():
                return None
            endpoint, _ = self._waiting.popitem(last=False)
            full = len(self._adopted) >= self._most_adopted
            return self._refused("too_many") if full else endpoint

    def adopt(self, endpoint: Endpoint) -> None:
        """Count an adopted broker against the limit."""
        with self._lock:
            self._adopted.add(endpoint)

    def lost(self, endpoint: Endpoint) -> None:
        """Give the place of a lost broker to another; every claim counts as new again."""
        with self._lock:
            self._adopted.discard(endpoint)
            # They are kept by text, of which the endpoint tells only one spelling.
            self._seen.clear()

    def _in_turn(self, endpoint: Endpoint) -> Endpoint | None:
        with self._lock:
            if len(self._adopted) >= self._most_adopted:
                return self._refused("too_many")
            if self._afford():
                return endpoint
            if len(self._waiting) >= MOST_WAITING:
                return self._refused("rate_limited")
            self._waiting[endpoint] = None
            return None

    def _is_news(self, claim: str) -> bool:
        now = self._now()
        with self._lock:
            if self._seen.get(claim, float("-inf")) + AGAIN_AFTER_S > now:
                return False
            self._seen[claim] = now
            self._seen.move_to_end(claim)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            return True

    def _checked(self, claim: str) -> Endpoint | None:
        """Refuse names, which would ask a name server, and every port but ours."""
        try:
            endpoint = Endpoint.parse(claim, self._port)
        except AddressError:
            return None
        allowed = endpoint.ip is not None and self._allowed(endpoint.ip)
        return endpoint if allowed and endpoint.port == self._port else None

    def _afford(self) -> bool:
        # A bucket of `BURST` tokens that gets `PER_SECOND` of them; the caller holds the lock.
        now = self._now()
        self._budget = min(self._budget + (now - self._filled_at) * PER_SECOND, float(BURST))
        self._filled_at = now
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    def _refused(self, outcome: str) -> Endpoint | None:
        # The lock may be held: a hook has to return at once, and must not bring a claim itself.
        self._observer.alien(outcome=outcome)
        return None
