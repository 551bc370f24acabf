"""The certificates in words, for the page and `flownexus cert`: what is valid until when, what comes next.

Owns no file; it tells nothing that may not be seen by everyone who may see the page.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509

from .keystore import Holdings
from .leafs import Leaf
from .profile import common_name, fingerprint
from .roots import ROLL_OVER_BEFORE_END, Root


class CertificateKind(StrEnum):
    ROOT = "root"
    CROSS = "cross"
    DTLS = "dtls"
    HTTPS = "https"


class CertificateState(StrEnum):
    """CURRENT signs or serves now; OLD is trusted until the overlap ends; PROVISIONAL is signed by itself."""

    CURRENT = "current"
    OLD = "old"
    PROVISIONAL = "provisional"


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """One certificate of the box. `serial` and `fingerprint` (SHA-256) are hexadecimal.

    `names` are the DNS names and addresses a server's one is made for, none for others.
    `trusted_until` is when the box itself stops to trust or use it; `next_step` when it will be replaced or
    dropped by itself, None where it ends as it is; `reason` a sentence that says what happens then and why.
    """

    kind: CertificateKind
    state: CertificateState
    subject: str
    issuer: str
    serial: str
    fingerprint: str
    not_before: datetime
    not_after: datetime
    trusted_until: datetime
    next_step: datetime | None
    reason: str
    names: tuple[str, ...] = ()


def describe(held: Holdings, now: datetime) -> tuple[CertificateStatus, ...]:
    """Roots newest first, then cross certificates, then the server's own."""
    found = [_root(root, now) for root in held.roots]
    found += [
        _cross(root.cross, older)
        for root, older in zip(held.roots, held.roots[1:], strict=False)
        if root.cross
    ]
    found += [_leaf(leaf, now) for leaf in held.leafs if leaf.chain]
    return tuple(found)


def describe_provisional(certificate: x509.Certificate) -> CertificateStatus:
    """The web server's self-signed certificate, which serves while the clock cannot be right."""
    return _status(
        CertificateKind.HTTPS,
        CertificateState.PROVISIONAL,
        certificate,
        certificate.not_valid_after_utc,
        None,
        "It is signed by itself and serves until the clock is right: the box's root signs none before that.",
    )


def _root(root: Root, now: datetime) -> CertificateStatus:
    if root.trusted_until is not None:
        reason = (
            "A newer root has taken its place. Devices that know only this one go on until its overlap ends;"
            " by then they must have got the newer one, which a bootstrap brings them."
        )
        return _status(
            CertificateKind.ROOT, CertificateState.OLD, root.certificate, root.ends, root.ends, reason
        )
    step = root.certificate.not_valid_after_utc - ROLL_OVER_BEFORE_END
    reason = (
        f"It will be rolled over to a new root {ROLL_OVER_BEFORE_END.days // 365} years before its end,"
        " so that every device can learn of the new one while both are trusted."
    )
    if now >= step:
        reason = "It is to be rolled over to a new root by now, because its end comes near."
    return _status(CertificateKind.ROOT, CertificateState.CURRENT, root.certificate, root.ends, step, reason)


def _cross(cross: x509.Certificate, older: Root) -> CertificateStatus:
    reason = (
        f"It leads devices that know only {older.name} to the newer root."
        " It is sent with the server's certificates until that root's overlap ends."
    )
    end = min(older.ends, cross.not_valid_after_utc)
    return _status(CertificateKind.CROSS, CertificateState.CURRENT, cross, end, end, reason)


def _leaf(leaf: Leaf, now: datetime) -> CertificateStatus:
    certificate = leaf.chain[0]
    end = certificate.not_valid_after_utc
    reason = "It will be made anew when two thirds of its life are over; no connection is lost by that."
    if now >= end:
        reason = "It has ended and is made anew as soon as the clock is right."
    elif now >= leaf.due:
        reason = "It is to be made anew by now, because two thirds of its life are over."
    kind = CertificateKind(leaf.kind.value)
    return _status(kind, CertificateState.CURRENT, certificate, end, leaf.due, reason)


def _status(
    kind: CertificateKind,
    state: CertificateState,
    certificate: x509.Certificate,
    trusted_until: datetime,
    next_step: datetime | None,
    reason: str,
) -> CertificateStatus:
    return CertificateStatus(
        kind=kind,
        state=state,
        subject=common_name(certificate.subject),
        issuer=common_name(certificate.issuer),
        serial=f"{certificate.serial_number:x}",
        fingerprint=fingerprint(certificate).hex(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        trusted_until=trusted_until,
        next_step=next_step,
        reason=reason,
        names=_names(certificate),
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    dns = found.get_values_for_type(x509.DNSName)
    return (*dns, *map(str, found.get_values_for_type(x509.IPAddress)))
