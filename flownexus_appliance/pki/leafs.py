"""The server's own certificates, one for DTLS and one for HTTPS: making them, and when they are due again.

All of it works on values; `keystore` keeps them. Each comes with a new key and the chain it is sent with.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..errors import UsageError
from .names import ServerNames
from .profile import EPOCH, Period, PrivateKey, Profile, certify, days, new_key, signed_by, subject, to_second
from .roots import Roots, crosses, issuer

VALIDITY: Final = timedelta(days=90)
MIN_VALIDITY: Final = timedelta(seconds=3)
# With the days before: Apple's systems refuse a server's certificate that is valid for more than 825 days.
MAX_VALIDITY: Final = timedelta(days=820)
# A browser's clock may be behind this box's.
BEFORE: Final = timedelta(days=2)


class LeafKind(StrEnum):
    DTLS = "dtls"
    HTTPS = "https"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate with its chain, leaf first, and its key.

    `issued` is when it was made: what begins in 1970 does not tell by itself. Where `fault` says what is
    wrong with the files, there is no chain and no key.
    """

    kind: LeafKind
    number: int
    issued: datetime
    chain: tuple[x509.Certificate, ...] = ()
    key: PrivateKey | None = field(default=None, repr=False)
    fault: str = ""

    @property
    def due(self) -> datetime:
        """When two thirds of its life are over."""
        return self.issued + (self.chain[0].not_valid_after_utc - self.issued) * 2 / 3


@dataclass(frozen=True, slots=True)
class LeafOrder:
    """What certificates are wanted: for which names, for how long."""

    names: ServerNames
    validity: timedelta

    @classmethod
    def of(cls, names: ServerNames, validity: timedelta) -> "LeafOrder":
        """An order of 3 s to 820 days, in whole seconds; raises UsageError("validity_invalid")."""
        if not MIN_VALIDITY <= validity <= MAX_VALIDITY:
            raise UsageError(
                "validity_invalid",
                f"a server's certificate cannot be valid for {days(validity)}",
                f"give at most {MAX_VALIDITY.days} days; {VALIDITY.days} are usual",
            )
        return cls(names, timedelta(seconds=validity // timedelta(seconds=1)))


def make_leaf(kind: LeafKind, number: int, order: LeafOrder, roots: Roots, now: datetime) -> Leaf:
    """A new key and its certificate by the newest root, which it does not outlive."""
    issued = to_second(now)
    # A device without a clock would take a certificate of today for one of the future; a browser has one.
    begin = EPOCH if kind is LeafKind.DTLS else issued - BEFORE
    end = min(issued + order.validity, roots[0].certificate.not_valid_after_utc)
    key = new_key()
    profile = Profile(purpose=ExtendedKeyUsageOID.SERVER_AUTH, names=order.names.extension())
    name = subject(order.names.common_name)
    made = certify(profile, name, key.public_key(), Period(begin, end), issuer(roots))
    return Leaf(kind, number, issued, (made, *crosses(roots)), key)


def why_due(
    leaf: Leaf | None, order: LeafOrder, before: LeafOrder | None, roots: Roots, now: datetime
) -> str:
    """Why a leaf must be made anew, as words that go on after "because"; empty where it serves.

    `before` is the order it was made by.
    """
    if leaf is None:
        return "there was none yet"
    if leaf.fault:
        return leaf.fault
    if leaf.chain[0].issuer != roots[0].certificate.subject:
        return "there is a newer root"
    if not signed_by(leaf.chain[0], roots[0].certificate):
        return "its file was damaged"
    if leaf.chain[1:] != crosses(roots):
        return "the roots that devices may know have changed"
    if before is None or before.names != order.names:
        return "the box's names or addresses have changed"
    if before.validity != order.validity:
        return "it is to be valid for another span of time"
    if now < leaf.issued - BEFORE:
        return "a clock that ran ahead had made it"
    if now >= leaf.chain[0].not_valid_after_utc:
        return "it had ended"
    return "two thirds of its life were over" if now >= leaf.due else ""


def find_fault(chain: tuple[x509.Certificate, ...], key: PrivateKey) -> str:
    """What keeps a chain and a key read from files from being used together; empty where nothing does."""
    return "" if chain[0].public_key() == key.public_key() else "its key was that of another certificate"
