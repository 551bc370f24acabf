"""What stands in every certificate the box makes: EC P-256, SHA-256, the extensions of RFC 5280 4.2.1.

Owns no file and no clock. Small is a virtue here: a modem takes chains up to 4 kB, and each byte of a chain
is sent by radio in every full handshake.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey

# A device without a clock takes every moment for a few minutes past this one.
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# What `cryptography` raises for bytes that are no certificate, request or key of a kind it knows.
UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)


@dataclass(frozen=True, slots=True)
class Period:
    """From when to when a certificate is valid, both included, to the second (RFC 5280 4.1.2.5)."""

    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs."""

    name: x509.Name
    key: PrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a certificate is for: a root (`authority`), or `purpose` under the names given."""

    authority: bool = False
    purpose: x509.ObjectIdentifier | None = None
    names: x509.SubjectAlternativeName | None = None


def new_key() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def subject(common_name: str, organization: str = "") -> x509.Name:
    """A name of at most two parts, as UTF8String (RFC 5280 4.1.2.4)."""
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def certify(
    profile: Profile, name: x509.Name, public: PublicKey, period: Period, issuer: Issuer
) -> x509.Certificate:
    """Sign a certificate with a random serial number of 159 bits."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(period.begin)
        .not_valid_after(period.end)
        # No path length in a root: a cross certificate below it must be able to sign, see `roots`.
        .add_extension(x509.BasicConstraints(ca=profile.authority, path_length=None), critical=True)
        .add_extension(_usage(authority=profile.authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if issuer.name != name:
        # By key alone: an issuer's serial number in here would fit one of its two certificates only.
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    if profile.purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([profile.purpose]), critical=False)
    if profile.names is not None:
        builder = builder.add_extension(profile.names, critical=False)
    return builder.sign(issuer.key, hashes.SHA256())


def to_second(moment: datetime) -> datetime:
    """A moment as a certificate can tell it."""
    return moment.replace(microsecond=0)


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the key of another certificate, which bears the issuer's name, signed one; not its dates."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def is_p256(key: object) -> bool:
    return isinstance(key, PrivateKey | PublicKey) and isinstance(key.curve, ec.SECP256R1)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def fingerprint(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the certificate's DER."""
    return certificate.fingerprint(hashes.SHA256())


def common_name(name: x509.Name) -> str:
    """The common name, empty where there is not exactly one."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if len(found) == 1 else ""


def days(span: timedelta) -> str:
    """A span in words: days from two days on, hours or seconds below."""
    seconds = round(span.total_seconds())
    if abs(seconds) >= 2 * 86_400:
        return f"{seconds // 86_400} days"
    return f"{seconds // 3600} hours" if abs(seconds) >= 7200 else f"{seconds} seconds"


def _usage(*, authority: bool) -> x509.KeyUsage:
    """Roots sign certificates and nothing else; all others sign handshakes. No list of revocations is signed:
    the box keeps a list of the certificates it lets in.
    """
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
