"""Slows down who tries passwords: by account and by address, longer with each mistake.

In memory: a restart forgets, and takes longer than most delays. Time is monotonic, so a clock that is set
neither frees nor locks out anybody.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

from ..errors import UsageError

# Mistakes that everybody makes.
FREE: Final = 3
FIRST_S: Final = 1.0
# An address may be kept waiting for long. An account must not be: anybody may try it, and its owner wants in.
ADDRESS_CAP_S: Final = 15 * 60.0
ACCOUNT_CAP_S: Final = 60.0
# Nor must a network of IPv6: one machine can have all addresses of it, but everybody at home shares it. A
# single one that guesses gets so slow by its own address that the others hardly notice.
NETWORK_FREE: Final = 30
NETWORK_CAP_S: Final = 60.0
# After so long without a mistake all are forgotten; longer than any delay.
FORGET_S: Final = 4 * 3600.0
MAX_KEYS: Final = 2000
# 2**20 s is beyond every cap.
_MAX_DOUBLINGS: Final = 20


class SignInThrottled(UsageError):
    """Too many mistakes: nothing was looked at, and is not for another `wait_s` seconds."""

    def __init__(self, wait_s: int) -> None:
        unit = "second" if wait_s == 1 else "seconds"
        super().__init__(
            "sign_in_throttled", "too many attempts that went wrong", f"wait {wait_s} {unit}, then try again"
        )
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class _Mistakes:
    """How many there were, when the last one was and until when its delay lasts, in monotonic seconds."""

    count: int
    last: float
    until: float


class Delays:
    """The mistakes of accounts, of addresses or of networks, of which the first `free` cost nothing: at most
    `MAX_KEYS`, then who was quiet for longest goes."""

    def __init__(self, cap_s: float, free: int = FREE) -> None:
        self._cap_s = cap_s
        self._free = free
        self._known: OrderedDict[str, _Mistakes] = OrderedDict()

    def wait_s(self, key: str, now: float) -> float:
        """For how long still nothing is looked at; 0 or less: it is."""
        known = self._known.get(key)
        return 0.0 if known is None else known.until - now

    def count(self, key: str, now: float) -> None:
        """Count an attempt as a mistake, until `forgive`: of many at once none may go first."""
        known = self._known.pop(key, None)
        if known is None or now - known.last >= FORGET_S:
            known = _Mistakes(0, now, now)
        count = known.count + 1
        beyond = count - self._free - 1
        delay_s = 0.0 if beyond < 0 else min(self._cap_s, FIRST_S * 2.0 ** min(beyond, _MAX_DOUBLINGS))
        self._known[key] = _Mistakes(count, now, now + delay_s)
        if len(self._known) > MAX_KEYS:
            self._known.popitem(last=False)

    def forgive(self, key: str) -> None:
        self._known.pop(key, None)


class Throttle:
    """All kinds of delays. `now` is in monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._addresses = Delays(ADDRESS_CAP_S)
        self._networks = Delays(NETWORK_CAP_S, NETWORK_FREE)
        self._accounts = Delays(ACCOUNT_CAP_S)

    def begin(self, address: str, account: str | None) -> None:
        """Take up an attempt, which counts as a mistake unless `forgive` is called for it.

        `account` is None where only the address counts. Raises SignInThrottled; such an attempt counts not.
        """
        now, asked = self._now(), self._asked(address, account)
        wait_s = max(delays.wait_s(key, now) for delays, key in asked)
        if wait_s > 0:
            raise SignInThrottled(ceil(wait_s))
        for delays, key in asked:
            delays.count(key, now)

    def forgive(self, address: str, account: str | None) -> None:
        """Somebody got it right: forget the mistakes of both."""
        for delays, key in self._asked(address, account):
            delays.forgive(key)

    def forgive_account(self, account: str) -> None:
        self._accounts.forgive(account)

    def _asked(self, address: str, account: str | None) -> list[tuple[Delays, str]]:
        """Whose mistake an attempt would be."""
        here, around = machine(address), network(address)
        asked = [(self._addresses, here)]
        if around != here:
            asked.append((self._networks, around))
        if account is not None:
            asked.append((self._accounts, account))
        return asked


def machine(address: str) -> str:
    """An address, written in one way; "" for what is none."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def network(address: str) -> str:
    """Where an address is: of IPv6 the /64, of which one machine may have all (RFC 4291 2.5.4)."""
    here = machine(address)
    return str(ipaddress.ip_network((here, 64), strict=False)) if ":" in here else here
