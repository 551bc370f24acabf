"""The web server's own certificate: EC P-256, signed by itself, made where there is no usable one.

RFC 5280 (profile), RFC 6125 (names). A browser asks its owner once whether to trust it. The wall clock of
a small box may be wrong when this runs, so a certificate is never trusted to dates alone, see `_usable`.
"""

import ipaddress
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A clock before this has not been set: the code is younger.
PLAUSIBLE_FROM: Final = datetime(2025, 1, 1, tzinfo=UTC)
# Together at most 825 days: Apple's systems refuse a server certificate that is valid for longer.
VALID_BEFORE: Final = timedelta(days=2)
VALID_AFTER: Final = timedelta(days=820)
RENEW_BEFORE_END: Final = timedelta(days=30)
MAX_COMMON_NAME: Final = 64


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
    found = _load(certificate, key)
    if found is not None and _usable(found, hostname, now):
        return _describe(found, made=False)
    private = ec.generate_private_key(ec.SECP256R1())
    made = _sign(private, hostname, max(now, PLAUSIBLE_FROM))
    certificate.parent.mkdir(parents=True, exist_ok=True)
    key.parent.mkdir(parents=True, exist_ok=True)
    # The key goes first: a power cut in between leaves two files that do not match, which `_load` sees.
    _write(
        key,
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        0o600,
    )
    _write(certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)
    return _describe(made, made=True)


def server_names(hostname: str) -> x509.SubjectAlternativeName:
    """The names a browser on this machine or its network may use: host, host.local, loopback."""
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    host = hostname.rstrip(".").lower()
    if host and host != "localhost" and _is_dns_name(host):
        names.append(x509.DNSName(host))
        if "." not in host:
            names.append(x509.DNSName(f"{host}.local"))
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    return x509.SubjectAlternativeName(names)


def _load(certificate: Path, key: Path) -> x509.Certificate | None:
    """The certificate, if both files can be read and belong together."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):  # cryptography raises the latter two for what is no PEM
        return None
    return found if found.public_key() == private.public_key() else None


def _usable(found: x509.Certificate, hostname: str, now: datetime) -> bool:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    if names != server_names(hostname):
        return False
    if now < PLAUSIBLE_FROM:
        return True  # an unset clock says nothing about the dates
    # One that begins in the future was made by a clock that ran ahead.
    return found.not_valid_before_utc <= now < found.not_valid_after_utc - RENEW_BEFORE_END


def _sign(private: ec.EllipticCurvePrivateKey, hostname: str, now: datetime) -> x509.Certificate:
    common_name = hostname if _is_dns_name(hostname) and len(hostname) <= MAX_COMMON_NAME else "localhost"
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "FlowNexus appliance"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    public = private.public_key()
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - VALID_BEFORE)
        .not_valid_after(now + VALID_AFTER)
        .add_extension(server_names(hostname), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(private, hashes.SHA256())
    )


def _describe(certificate: x509.Certificate, *, made: bool) -> ServerCertificate:
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    return ServerCertificate(fingerprint, certificate.not_valid_after_utc, made)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Put a file in its place whole or not at all, with its mode from the first byte on."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _is_dns_name(text: str) -> bool:
    labels = text.split(".")
    return len(text) <= 253 and all(
        0 < len(label) <= 63 and label.isascii() and label.replace("-", "").isalnum() and label[0] != "-"
        for label in labels
    )
