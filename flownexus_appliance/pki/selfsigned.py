"""The web server's provisional certificate: P-256, signed by itself, for the time before the clock is right.

The box's own root signs nothing while the clock cannot be right (`authority`); a browser must get in all the
same, to set the clock. RFC 5280 (profile), RFC 6125 (names). The clock being doubtful when this runs,
a certificate is never judged by its dates alone, see `_usable`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..system.clock import PLAUSIBLE_FROM
from . import files
from .describe import CertificateStatus, describe_provisional
from .encoding import chain_pem, key_pem, load_key_pem
from .names import ServerNames
from .profile import UNREADABLE, Issuer, Period, PrivateKey, Profile, certify, fingerprint, new_key, subject

# Together at most 825 days: Apple's systems refuse a server certificate that is valid for longer.
VALID_BEFORE: Final = timedelta(days=2)
VALID_AFTER: Final = timedelta(days=820)
RENEW_BEFORE_END: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What is in the files now; `fingerprint` is the SHA-256 a browser shows, as hexadecimal."""

    fingerprint: str
    not_after: datetime
    made: bool


def ensure_certificate(certificate: Path, key: Path, hostname: str, now_s: float) -> ServerCertificate:
    """Make both PEM files unless they hold a usable certificate for these names; `now_s` is Unix time.

    A certificate is made anew when it or its key is missing, unreadable or of the other's kind, when
    it ends within 30 days or when the box has got another name. Raises OSError.
    """
    now = datetime.fromtimestamp(now_s, UTC)
    names = ServerNames.of(hostname)
    found = _load(certificate, key)
    if found is not None and _usable(found, names, now):
        return _describe(found, made=False)
    private = new_key()
    made = _sign(private, names, max(now, PLAUSIBLE_FROM))
    certificate.parent.mkdir(parents=True, exist_ok=True)
    key.parent.mkdir(parents=True, exist_ok=True)
    # The key goes first: a power cut in between leaves two files that do not match, which `_load` sees.
    files.write_whole(key, key_pem(private), files.PRIVATE)
    files.write_whole(certificate, chain_pem((made,)), files.PUBLIC)
    return _describe(made, made=True)


def provisional_status(certificate: Path) -> CertificateStatus | None:
    """What the page and `flownexus cert` tell of the provisional certificate; None where there is none."""
    try:
        return describe_provisional(x509.load_pem_x509_certificate(certificate.read_bytes()))
    except (OSError, *UNREADABLE):
        return None


def _load(certificate: Path, key: Path) -> x509.Certificate | None:
    """The certificate, if both files can be read and belong together."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = load_key_pem(key.read_bytes())
        return found if found.public_key() == private.public_key() else None
    except (OSError, *UNREADABLE):
        return None


def _usable(found: x509.Certificate, names: ServerNames, now: datetime) -> bool:
    try:
        if found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value != names.extension():
            return False
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False
    if now < PLAUSIBLE_FROM:
        return True  # an unset clock says nothing about the dates
    # One that begins in the future was made by a clock that ran ahead.
    return found.not_valid_before_utc <= now < found.not_valid_after_utc - RENEW_BEFORE_END


def _sign(private: PrivateKey, names: ServerNames, now: datetime) -> x509.Certificate:
    name = subject(names.common_name, "FlowNexus appliance")
    profile = Profile(purpose=ExtendedKeyUsageOID.SERVER_AUTH, names=names.extension())
    period = Period(now - VALID_BEFORE, now + VALID_AFTER)
    return certify(profile, name, private.public_key(), period, Issuer(name, private))


def _describe(certificate: x509.Certificate, *, made: bool) -> ServerCertificate:
    return ServerCertificate(fingerprint(certificate).hex(), certificate.not_valid_after_utc, made)
