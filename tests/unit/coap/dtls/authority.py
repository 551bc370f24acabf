"""A small CA for tests: certificates as they should be, and as they should not."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from flownexus_appliance.coap.dtls.engine import Chain, Context, Kind, Ring

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def fingerprint(self) -> bytes:
        return self.certificate.fingerprint(hashes.SHA256())

    def chain(self, *more: "Issued", key: ec.EllipticCurvePrivateKey | None = None) -> Chain:
        """With further certificates behind it, and another key if need be."""
        plain = (key or self.key).private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Chain((self.der, *(issued.der for issued in more)), plain)


def issue(
    name: str,
    by: Issued | None = None,
    *,
    usage: x509.ObjectIdentifier | None = None,
    ca: bool = False,
    begins: datetime = EPOCH,
    ends: datetime = NOW + 90 * DAY,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Issued:
    """A certificate for a new key, or for `key`; by itself where nobody else signs."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(
        by.certificate.subject if by else subject, subject, key.public_key(), x509.random_serial_number()
    )
    builder = builder.not_valid_before(begins).not_valid_after(ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Issued(builder.sign(by.key if by else key, hashes.SHA256()), key)


def root(name: str = "root") -> Issued:
    return issue(name, ca=True)


def certificate_server(
    trusted: Issued, chain: Chain | None = None, *allowed: Issued, check_dates: bool = True
) -> Context:
    """A server with a certificate of the root, or this chain, that lets these certificates in."""
    ring = Ring()
    for issued in allowed:
        ring.put(Kind.CERTIFICATE, issued.fingerprint)
    if chain is None:
        chain = issue("box", trusted, usage=SERVER).chain()
    return Context(ring=ring, chain=chain, roots=[trusted.der], check_dates=check_dates)


def certificate_client(trusted: Issued, chain: Chain, **more: object) -> Context:
    return Context(client=True, chain=chain, roots=[trusted.der], cid_bytes=0, **more)  # type: ignore[arg-type]
