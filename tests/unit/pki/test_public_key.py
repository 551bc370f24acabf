"""The public key of a certificate in its parts."""

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from flownexus_appliance.pki.authority import Authority
from flownexus_appliance.pki.names import ServerNames
from flownexus_appliance.pki.public_key import public_point


def test_the_roots_key(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.load()
    authority.ensure(ServerNames.of("box"), datetime(2026, 11, 1, tzinfo=UTC))
    point = public_point(authority.roots()[0])
    key = load_der_public_key(point.der)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert (len(point.x), len(point.y)) == (32, 32)
    numbers = key.public_numbers()
    assert (int.from_bytes(point.x, "big"), int.from_bytes(point.y, "big")) == (numbers.x, numbers.y)
    assert point.der.endswith(b"\x04" + point.x + point.y)
