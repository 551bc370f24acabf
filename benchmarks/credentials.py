"""Credentials of the benchmarks' devices: keys and certificates that both sides of a measurement know.

A server without an appliance takes them from a file; the daemon is given them over its control socket.
"""

import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.x509 import load_pem_x509_certificate, load_pem_x509_certificates

from flownexus_appliance.cli.console import Console, below
from flownexus_appliance.coap.dtls.engine import Chain, Kind, Ring

PREFIX: Final = "load"
DEVICES: Final = 1000


def device_name(number: int) -> str:
    return f"{PREFIX}-{number:05d}"


def device_key(number: int) -> bytes:
    return sha256(f"key of {device_name(number)}".encode()).digest()[:16]


@dataclass(frozen=True, slots=True)
class Credentials:
    """`device` is one certificate that all handshakes of a measurement use; keys there are DEVICES."""

    server: Chain = field(repr=False)
    device: Chain = field(repr=False)
    roots: tuple[bytes, ...]

    def let_in(self, ring: Ring) -> None:
        for number in range(DEVICES):
            ring.put(Kind.PSK, device_name(number).encode(), device_key(number))
        ring.put(Kind.CERTIFICATE, sha256(self.device.certificates[0]).digest())


def load(file: Path) -> Credentials:
    """Read what `store` wrote."""
    words = json.loads(file.read_text())
    chains = [
        Chain(tuple(bytes.fromhex(c) for c in words[name]["certificates"]), bytes.fromhex(words[name]["key"]))
        for name in ("server", "device")
    ]
    return Credentials(chains[0], chains[1], tuple(bytes.fromhex(root) for root in words["roots"]))


def store(file: Path, state: Path, certificate: dict[str, str]) -> None:
    """Write what `load` reads: the daemon's own server certificate, and a device's as the API gave it."""
    index = state / "pki"
    leaf = max(index.glob("dtls-*.crt"))
    device = load_pem_x509_certificate(certificate["certificate"].encode())
    roots = load_pem_x509_certificates(certificate["ca"].encode())
    der = serialization.Encoding.DER
    words = {
        "server": {
            "certificates": [
                c.public_bytes(der).hex() for c in load_pem_x509_certificates(leaf.read_bytes())
            ],
            "key": _key(leaf.with_suffix(".key").read_bytes()),
        },
        "device": {
            "certificates": [device.public_bytes(der).hex()],
            "key": _key(certificate["private_key"].encode()),
        },
        "roots": [root.public_bytes(der).hex() for root in roots],
    }
    file.write_text(json.dumps(words))


def _key(pem: bytes) -> str:
    return (
        serialization.load_pem_private_key(pem, None)
        .private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        .hex()
    )


def add_psk(daemon: Console, number: int) -> None:
    """Let a device in by its key."""
    words = {"kind": "psk", "key": device_key(number).hex()}
    daemon.post(below("endpoints", device_name(number), "/credentials"), words)


def add_certificate(daemon: Console, number: int) -> dict[str, str]:
    """A device's certificate, its key and the roots, as PEM."""
    given = daemon.post(below("endpoints", device_name(number), "/credentials"), {"kind": "certificate"})
    certificate: dict[str, str] = given["certificate"]
    return certificate
