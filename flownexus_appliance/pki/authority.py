"""The box's own certificate authority: its roots, its server certificates, certificates for devices.

RFC 5280 (profile), RFC 4210 4.4 (roll-over). Reads no clock and writes no log: `now` is an argument and must
come from a clock that `system.clock` trusts, and what was done is returned as `Change`s for the caller to
tell. Calls may come from any thread; those that change something wait for each other.
"""

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from ..system.clock import PLAUSIBLE_FROM, SIGNS_UNTIL
from . import describe, devices, leafs, upkeep
from .describe import CertificateStatus
from .devices import DeviceCertificate
from .encoding import key_der
from .errors import PkiError
from .keystore import Holdings, Keystore
from .leafs import LeafKind, LeafOrder
from .names import ServerNames
from .profile import UNREADABLE, der, signed_by
from .roots import OVERLAP
from .upkeep import Change, empty, some


@dataclass(frozen=True, slots=True)
class Chain:
    """What a server proves itself by: certificates as DER, leaf first, and the leaf's key, PKCS#8 DER."""

    certificates: tuple[bytes, ...]
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PemFiles:
    """Where chain and key lie as PEM, for ssl.SSLContext.load_cert_chain; the next rotation removes them."""

    chain: Path
    key: Path


class Authority:
    """Holds the folder `<state>/pki`, one daemon at a time. Call `load`, then `ensure` now and then."""

    def __init__(self, folder: Path) -> None:
        self._store = Keystore(folder)
        self._held = Holdings()
        self._lock = threading.Lock()

    def load(self) -> None:
        """Read the folder and change nothing; an absent folder holds nothing yet.

        Raises PkiError: `pki_damaged`, `pki_foreign`, `pki_unreadable`.
        """
        with self._lock:
            self._held = self._store.read()

    @property
    def ready(self) -> bool:
        """Whether there are roots and usable server certificates; their dates are not looked at."""
        held = self._held
        return bool(held.roots) and all((leaf := held.leaf(kind)) and leaf.chain for kind in LeafKind)

    # Changes. Each reads the folder again first, so that damage is noticed while memory still serves.

    def ensure(
        self, names: ServerNames, now: datetime, validity: timedelta = leafs.VALIDITY
    ) -> tuple[Change, ...]:
        """Make what is missing and replace what is due; nothing is written where there is nothing to do.

        `validity` is that of the server's certificates, 3 s to 820 days. Raises PkiError as `load`,
        `pki_unwritable` and `clock_untrusted`; UsageError("validity_invalid").
        """
        order = LeafOrder.of(names, validity)
        with self._lock:
            _check_clock(now)
            before = self._store.read()
            closed = tuple(upkeep.key_closed(name) for name in self._store.make_private())
            after, changes = upkeep.keep(before, order, now)
            if changes:
                self._store.write(before, after)
            self._hold(after)
            return closed + changes

    def rotate_now(self, now: datetime, names: ServerNames) -> tuple[Change, ...]:
        """Make both server certificates anew though they are not due; raises as `ensure`, and `pki_empty`."""
        with self._lock:
            _check_clock(now)
            before = self._store.read()
            return self._take(before, upkeep.rotate(before, names, now))

    def roll_over(self, now: datetime, overlap: timedelta = OVERLAP) -> tuple[Change, ...]:
        """Make the next root, which signs all from now on; those before are trusted until the overlap ends.

        The key of the root before is removed: it has signed the next root's cross certificate, its last work.
        Up to 3 roots may be trusted at once. Raises as `ensure`, PkiError("pki_empty"), UsageError:
        `overlap_invalid`, `roll_over_limit`.
        """
        with self._lock:
            _check_clock(now)
            before = self._store.read()
            return self._take(before, upkeep.roll_over(before, now, overlap))

    def finish_roll_over(self, now: datetime) -> tuple[Change, ...]:
        """Trust the newest root alone from now on. Raises as `ensure`, and UsageError("roll_over_none").

        Devices that know only an older root, or have a certificate by one, are refused from then on.
        """
        with self._lock:
            _check_clock(now)
            before = self._store.read()
            return self._take(before, upkeep.finish_roll_over(before, now))

    # What others use

    def roots(self) -> tuple[bytes, ...]:
        """DER of all trusted roots, newest first; a device's certificate must be signed by one of them."""
        return tuple(der(root.certificate) for root in self._held.roots)

    @property
    def newest_root(self) -> bytes:
        """DER of the root that signs now, the one to bring to devices; raises PkiError("pki_empty")."""
        return der(some(self._held.roots)[0].certificate)

    def dtls_chain(self) -> Chain:
        """What the DTLS server proves itself by; raises PkiError("pki_empty")."""
        leaf = self._held.leaf(LeafKind.DTLS)
        if leaf is None or leaf.key is None:
            raise _no_leaf(LeafKind.DTLS)
        return Chain(tuple(der(certificate) for certificate in leaf.chain), key_der(leaf.key))

    def https_files(self) -> PemFiles:
        """The files the HTTPS server loads; raises PkiError("pki_empty")."""
        leaf = self._held.leaf(LeafKind.HTTPS)
        if leaf is None or leaf.key is None:
            raise _no_leaf(LeafKind.HTTPS)
        return PemFiles(*self._store.leaf_paths(leaf))

    def issue(self, endpoint: str, now: datetime, valid: timedelta = devices.VALIDITY) -> DeviceCertificate:
        """Make a key and a certificate for a device; nothing is kept of either.

        Raises PkiError: `clock_untrusted`, `pki_empty`; UsageError: `name_invalid`, `name_too_long`,
        `validity_invalid`.
        """
        _check_clock(now)
        return devices.make_certificate(endpoint, some(self._held.roots), now, valid)

    def issue_for(
        self, endpoint: str, request: bytes, now: datetime, valid: timedelta = devices.VALIDITY
    ) -> DeviceCertificate:
        """Make the certificate of a device that made its own key, from its PKCS#10 request, PEM or DER.

        Raises as `issue`, and UsageError: `request_unreadable`, `request_key_unsupported`,
        `request_unsigned`, `request_name`.
        """
        _check_clock(now)
        return devices.certify_request(endpoint, request, some(self._held.roots), now, valid)

    def accepted_until(self, certificate: bytes) -> datetime | None:
        """When the box stops to accept a device's certificate (DER), which must be renewed before that.

        It is the certificate's end, or that of its root's overlap; None where no trusted root signed it.
        """
        try:
            found = x509.load_der_x509_certificate(certificate)
        except UNREADABLE:
            return None
        for root in self._held.roots:
            if signed_by(found, root.certificate):
                return min(found.not_valid_after_utc, root.ends)
        return None

    def describe(self, now: datetime) -> tuple[CertificateStatus, ...]:
        """All certificates of the box: roots newest first, cross certificates, the server's own."""
        return describe.describe(self._held, now)

    # Inside

    def _take(self, before: Holdings, step: upkeep.Step) -> tuple[Change, ...]:
        after, changes = step
        self._store.write(before, after)
        self._hold(after)
        return changes

    def _hold(self, after: Holdings) -> None:
        """What is on the disk is in memory too; then what counts no more may go."""
        self._held = after
        self._store.sweep(after)


def _no_leaf(kind: LeafKind) -> PkiError:
    return empty(f"the box has no {upkeep.LEAF_NAMES[kind]} yet")


def _check_clock(now: datetime) -> None:
    """The last guard: callers know more of the clock than this, see `system.clock.doubt`."""
    if not PLAUSIBLE_FROM <= now < SIGNS_UNTIL:
        raise PkiError(
            "clock_untrusted",
            f"no certificate is made by a clock that shows {now:%Y-%m-%d}",
            "set the clock, or let the box reach a time server",
        )
