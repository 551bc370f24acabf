"""What the tests of the authority share: a moment, names, and looks into the folder."""

import ipaddress
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from flownexus_appliance.pki.authority import Authority
from flownexus_appliance.pki.names import ServerNames

NOW = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)
DAY = timedelta(days=1)
YEAR = 365 * DAY
NAMES = ServerNames.of("flownexus", [ipaddress.ip_address("192.168.1.20")])
ENDPOINT = "urn:imei:350457790000001"


def ensured(folder: Path, now: datetime = NOW) -> Authority:
    """An authority that has all it needs."""
    authority = Authority(folder)
    authority.load()
    authority.ensure(NAMES, now)
    return authority


def loaded(folder: Path) -> Authority:
    authority = Authority(folder)
    authority.load()
    return authority


def parse(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def open_keys(folder: Path) -> list[str]:
    """The files with a private key in them that anybody but their owner can read."""
    return [
        path.name
        for path in folder.iterdir()
        if b"PRIVATE KEY" in path.read_bytes() and stat.S_IMODE(path.stat().st_mode) != 0o600
    ]
