"""Writes the header with the keys and certificates that the fuzzer of the DTLS engine uses.

Made anew each time: a root, and by it a certificate for the server, one for a device that is let in and
one for a device that is not. Usage: material.py FILE
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_BEGIN, _END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey
) -> bytes:
    """DER; a CA where it signs itself."""
    subject, by = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in (name, issuer))
    builder = x509.CertificateBuilder(by, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(_BEGIN).not_valid_after(_END)
    builder = builder.add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def array(name: str, data: bytes) -> str:
    return f"static const uint8_t {name}[] = {{{', '.join(map(str, data))}}};\n"


def chain(data: bytes) -> bytes:
    """As dtls_config_own takes it."""
    return len(data).to_bytes(3, "big") + data


def main() -> None:
    root = ec.generate_private_key(ec.SECP256R1())
    text = "#include <stdint.h>\n" + array("ROOT", chain(certificate("root", root, "root", root)))
    for name in ("SERVER", "DEVICE", "STRANGER_BYTES"):
        key = ec.generate_private_key(ec.SECP256R1())
        der = certificate(name, key, "root", root)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(der)
        plain = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        text += array(name, chain(der)) + array(f"{name.partition('_')[0]}_KEY", plain)
        if name == "DEVICE":
            text += array("DEVICE_SHA256", digest.finalize())
    Path(sys.argv[1]).write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
