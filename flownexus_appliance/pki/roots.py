"""The box's roots: making one, making the next, and which of them are trusted until when.

All of it works on values; `keystore` keeps them. A root is rolled over by cross-signing ("new with old" in
RFC 4210 4.4): the next root's key is also certified by the root before it, so a device that knows only the
older root finds a way from it to what the newer one signed. docs/decisions/0007 says why.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from ..errors import UsageError
from .profile import (
    EPOCH,
    Issuer,
    Period,
    PrivateKey,
    Profile,
    certify,
    common_name,
    new_key,
    subject,
    to_second,
)

ROOT_LIFE: Final = timedelta(days=20 * 365 + 5)
ROLL_OVER_BEFORE_END: Final = timedelta(days=3 * 365)
# Longer than a device's certificate is valid, so that no roll-over cuts one short.
OVERLAP: Final = timedelta(days=3 * 365)
# Each adds a cross certificate of about 450 bytes to every chain, and modems take 4 kB.
MAX_TRUSTED: Final = 3
NAME: Final = "FlowNexus root"


@dataclass(frozen=True, slots=True)
class Root:
    """A root the box trusts. Only the newest has a key: those before it sign nothing any more.

    `cross` is this root's key certified by the root before it, there as long as that one is trusted.
    `trusted_until` is the end of the overlap, None for the newest.
    """

    number: int
    certificate: x509.Certificate
    cross: x509.Certificate | None = None
    trusted_until: datetime | None = None
    key: PrivateKey | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return common_name(self.certificate.subject)

    @property
    def ends(self) -> datetime:
        """When the box stops to trust it."""
        end = self.certificate.not_valid_after_utc
        return end if self.trusted_until is None else min(end, self.trusted_until)


Roots = tuple[Root, ...]  # newest first


def first_root(number: int, now: datetime) -> Root:
    """A root that no other vouches for. Its name is its own: two roots of one name confuse chain building."""
    key = new_key()
    name = subject(f"{NAME} {number} {secrets.token_hex(4)}")
    period = Period(EPOCH, to_second(now) + ROOT_LIFE)
    certificate = certify(Profile(authority=True), name, key.public_key(), period, Issuer(name, key))
    return Root(number, certificate, key=key)


def next_roots(roots: Roots, now: datetime, overlap: timedelta) -> Roots:
    """The roots after a roll-over: a new one, and those before it trusted to the end of the overlap.

    A root that is older stays trusted for no longer than before. Where the newest has ended, nothing leads
    from it to the next: the new one stands alone. Raises UsageError: `overlap_invalid`, `roll_over_limit`.
    """
    if not timedelta(0) < overlap <= ROOT_LIFE:
        raise UsageError(
            "overlap_invalid",
            f"the roots cannot overlap for {overlap}",
            "give from a day to 20 years; to end an overlap at once, finish the roll-over",
        )
    newest = roots[0]
    new = first_root(newest.number + 1, now)
    if now >= newest.ends:
        return (new,)
    if len(roots) >= MAX_TRUSTED:
        raise UsageError(
            "roll_over_limit",
            f"{len(roots)} roots are trusted already, the oldest until {roots[-1].ends:%Y-%m-%d}",
            "wait until then, or finish the roll-over: devices that know no newer root need new credentials",
        )
    # The way from an older root leads through this one, so this one may not end before it does.
    until = max([to_second(now) + overlap, *(root.ends for root in roots[1:])])
    old = Root(newest.number, newest.certificate, newest.cross, until)
    return (Root(new.number, new.certificate, _cross(new, newest), key=new.key), old, *roots[1:])


def still_trusted(roots: Roots, now: datetime) -> Roots:
    """The roots without those whose overlap has ended, and without those that only an ended one leads to."""
    kept = roots[:1]
    for root in roots[1:]:
        if now >= root.ends:
            break
        kept += (root,)
    return without_needless_cross(kept)


def without_needless_cross(roots: Roots) -> Roots:
    """The roots, the oldest of them without the cross certificate that led to it from one before."""
    if not roots or roots[-1].cross is None:
        return roots
    last = roots[-1]
    return (*roots[:-1], Root(last.number, last.certificate, None, last.trusted_until, last.key))


def crosses(roots: Roots) -> tuple[x509.Certificate, ...]:
    """What a chain carries after its leaf, each signing the one before it (RFC 5246 7.4.2)."""
    return tuple(root.cross for root in roots if root.cross is not None)


def issuer(roots: Roots) -> Issuer:
    """The newest root as the one that signs."""
    newest = roots[0]
    if newest.key is None:
        raise ValueError("the newest root has no key")
    return Issuer(newest.certificate.subject, newest.key)


def _cross(new: Root, old: Root) -> x509.Certificate:
    """The new root's name and key, signed by the old one, for as long as both last."""
    public = issuer((new,)).key.public_key()
    end = min(new.certificate.not_valid_after_utc, old.certificate.not_valid_after_utc)
    return certify(
        Profile(authority=True), new.certificate.subject, public, Period(EPOCH, end), issuer((old,))
    )
