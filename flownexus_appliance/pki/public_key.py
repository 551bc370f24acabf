"""The public key of a certificate in its parts, for whoever gives it to a device by hand. RFC 5480."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from .profile import PublicKey

COORDINATE_BYTES = 32


@dataclass(frozen=True, slots=True)
class PublicPoint:
    """A point on the curve P-256: coordinates big-endian, and the whole key as SubjectPublicKeyInfo (DER)."""

    x: bytes
    y: bytes
    der: bytes


def public_point(certificate: bytes) -> PublicPoint:
    """The key of a certificate (DER) of the box's own."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    assert isinstance(key, PublicKey), "the box makes no other keys"
    numbers = key.public_numbers()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicPoint(
        numbers.x.to_bytes(COORDINATE_BYTES, "big"), numbers.y.to_bytes(COORDINATE_BYTES, "big"), der
    )
