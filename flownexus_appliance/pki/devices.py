"""Certificates for devices: subject common name = Endpoint Client Name, client authentication only.

LwM2M Transport 1.1.1, certificate mode; RFC 2986 (what a device that made its own key sends).
They begin in 1970, for the device may look at its own certificate with a clock that never was set.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..errors import UsageError, clean
from .encoding import key_der
from .names import MAX_COMMON_NAME
from .profile import (
    EPOCH,
    UNREADABLE,
    Period,
    Profile,
    PublicKey,
    certify,
    common_name,
    days,
    der,
    fingerprint,
    new_key,
    subject,
    to_second,
)
from .roots import Roots, issuer

VALIDITY: Final = timedelta(days=2 * 365)
MAX_REQUEST_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class DeviceCertificate:
    """A certificate made for a device, both parts as DER; the key (PKCS#8) is empty where the device has it.

    `fingerprint` is the SHA-256 of the certificate. The box keeps the fingerprint, never the key.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    fingerprint: bytes
    serial: int
    not_after: datetime


def check_endpoint(endpoint: str) -> None:
    """Whether a certificate can carry this name; raises UsageError: `name_too_long`, `name_invalid`."""
    if not endpoint or not endpoint.isprintable() or endpoint != endpoint.strip():
        raise UsageError(
            "name_invalid",
            f"a certificate cannot carry this endpoint name: {clean(endpoint)}",
            "use printable characters, with no space before or after them",
        )
    if len(endpoint.encode()) > MAX_COMMON_NAME:
        raise UsageError(
            "name_too_long",
            f"the endpoint name is too long for a certificate: {clean(endpoint)}",
            f"a certificate holds at most {MAX_COMMON_NAME} bytes of UTF-8: use a shorter name, or a PSK",
        )


def make_certificate(endpoint: str, roots: Roots, now: datetime, valid: timedelta) -> DeviceCertificate:
    """Make a key and its certificate. Raises UsageError as `check_endpoint`, and `validity_invalid`."""
    check_endpoint(endpoint)
    key = new_key()
    return _certify(endpoint, key.public_key(), key_der(key), roots, now, valid)


def certify_request(
    endpoint: str, request: bytes, roots: Roots, now: datetime, valid: timedelta
) -> DeviceCertificate:
    """Make the certificate of a device's own key, from its request as PEM or DER.

    Of the request only the key and the name are looked at: what it asks for beyond them, it does not get.
    Raises UsageError as `make_certificate`, and `request_unreadable`, `request_key_unsupported`,
    `request_unsigned`, `request_name`.
    """
    check_endpoint(endpoint)
    found = _read_request(request)
    public = _public_key(found)
    if not found.is_signature_valid:
        raise UsageError(
            "request_unsigned",
            "the certificate request is not signed by its own key",
            "make it anew on the device: it was altered on the way, or by whoever has no such key",
        )
    name = _name_in(found)
    if name != endpoint:
        raise UsageError(
            "request_name",
            f"the certificate request is for {clean(name) or 'nobody'}, not for {endpoint}",
            "its subject must have one common name, which is the endpoint name",
        )
    return _certify(endpoint, public, b"", roots, now, valid)


def _certify(
    endpoint: str, public: PublicKey, key: bytes, roots: Roots, now: datetime, valid: timedelta
) -> DeviceCertificate:
    if not timedelta(seconds=1) <= valid <= roots[0].certificate.not_valid_after_utc - now:
        raise UsageError(
            "validity_invalid",
            f"a device's certificate cannot be valid for {days(valid)}",
            f"{VALIDITY.days} days are usual; the box's root ends"
            f" on {roots[0].certificate.not_valid_after_utc:%Y-%m-%d}",
        )
    profile = Profile(purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
    period = Period(EPOCH, to_second(now + valid))
    made = certify(profile, subject(endpoint), public, period, issuer(roots))
    return DeviceCertificate(der(made), key, fingerprint(made), made.serial_number, made.not_valid_after_utc)


def _read_request(request: bytes) -> x509.CertificateSigningRequest:
    if len(request) <= MAX_REQUEST_BYTES:
        try:
            if b"-----BEGIN" in request:
                return x509.load_pem_x509_csr(request)
            return x509.load_der_x509_csr(request)
        except UNREADABLE:
            pass
    raise UsageError(
        "request_unreadable",
        "this is no certificate request",
        "give a PKCS#10 request as PEM or DER, such as `openssl req -new` makes",
    )


def _public_key(request: x509.CertificateSigningRequest) -> PublicKey:
    try:
        public = request.public_key()
    except UNREADABLE:
        public = None
    if isinstance(public, PublicKey) and isinstance(public.curve, ec.SECP256R1):
        return public
    raise UsageError(
        "request_key_unsupported",
        "the certificate request is for a key of another kind",
        "make an elliptic-curve key on P-256: devices and the box speak no other",
    )


def _name_in(request: x509.CertificateSigningRequest) -> str:
    try:
        return common_name(request.subject)
    except UNREADABLE:
        return ""
