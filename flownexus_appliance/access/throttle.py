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
    """The mistakes of accounts, or of addresses: at most `MAX_KEYS`, then who was quiet for longest goes."""

    def __init__(self, cap_s: float) -> None:
        self._cap_s = cap_s
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
        beyond = count - FREE - 1
        delay_s = 0.0 if beyond < 0 else min(self._cap_s, FIRST_S * 2.0 ** min(beyond, _MAX_DOUBLINGS))
        self._known[key] = _Mistakes(count, now, now + delay_s)
        if len(self._known) > MAX_KEYS:
            self._known.popitem(last=False)

    def forgive(self, key: str) -> None:
        self._known.pop(key, None)


class Throttle:
    """Both kinds of delays. `now` is in monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._addresses = Delays(ADDRESS_CAP_S)
        self._accounts = Delays(ACCOUNT_CAP_S)

    def begin(self, address: str, account: str | None) -> None:
        """Take up an attempt, which counts as a mistake unless `forgive` is called for it.

        `account` is None where only the address counts. Raises SignInThrottled; such an attempt counts not.
        """
        now, key = self._now(), network(address)
        wait_s = self._addresses.wait_s(key, now)
        if account is not None:
            wait_s = max(wait_s, self._accounts.wait_s(account, now))
        if wait_s > 0:
            raise SignInThrottled(ceil(wait_s))
        self._addresses.count(key, now)
        if account is not None:
            self._accounts.count(account, now)

    def forgive(self, address: str, account: str | None) -> None:
        """Somebody got it right: forget the mistakes of both."""
        self._addresses.forgive(network(address))
        if account is not None:
            self.forgive_account(account)

    def forgive_account(self, account: str) -> None:
        self._accounts.forgive(account)


def network(address: str) -> str:
    """What counts as one address: of IPv6 the /64, of which one machine has all (RFC 4291 2.5.4)."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False).network_address)
    return str(found)
