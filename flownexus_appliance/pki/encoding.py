"""Certificates and keys as bytes to keep, to load and to hand out.

mbedTLS, and with it Zephyr and Anjay, reads a key as PKCS#8 or SEC1, DER or PEM; Leshan's demo client reads
PKCS#8 DER only. So PKCS#8 DER is what the box keeps in memory and writes to devices, and the rest is made of
it where somebody asks.
"""

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from .profile import PrivateKey, is_p256


def key_der(key: PrivateKey) -> bytes:
    """PKCS#8, not encrypted."""
    return _key_bytes(key, serialization.Encoding.DER, serialization.PrivateFormat.PKCS8)


def key_pem(key: PrivateKey) -> bytes:
    """PKCS#8, not encrypted."""
    return _key_bytes(key, serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)


def pem_of_key(pkcs8: bytes) -> str:
    """A key's DER (PKCS#8) as PEM, for those who load files: OpenSSL, modems, browsers."""
    return key_pem(load_key_der(pkcs8)).decode()


def sec1_of_key(pkcs8: bytes) -> bytes:
    """A key's DER (PKCS#8) as the older and shorter SEC1 DER (RFC 5915)."""
    key = load_key_der(pkcs8)
    return _key_bytes(key, serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL)


def pem_of_certificates(*certificates: bytes) -> str:
    """Certificates' DER as one PEM text, in the order given."""
    loaded = (x509.load_der_x509_certificate(certificate) for certificate in certificates)
    return chain_pem(tuple(loaded)).decode()


def chain_pem(chain: tuple[x509.Certificate, ...]) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain)


def load_key_der(pkcs8: bytes) -> PrivateKey:
    """Raises one of UNREADABLE, as for a key that is not on P-256."""
    return _p256(serialization.load_der_private_key(pkcs8, password=None))


def load_key_pem(pem: bytes) -> PrivateKey:
    """Raises one of UNREADABLE, as for a key that is not on P-256."""
    return _p256(serialization.load_pem_private_key(pem, password=None))


def _p256(key: object) -> PrivateKey:
    if not isinstance(key, PrivateKey) or not is_p256(key):
        raise ValueError("not a key on the curve P-256")
    return key


def _key_bytes(
    key: PrivateKey, encoding: serialization.Encoding, shape: serialization.PrivateFormat
) -> bytes:
    return key.private_bytes(encoding, shape, serialization.NoEncryption())
