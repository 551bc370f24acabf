"""The box's own certificate: made once, kept while it serves, made anew when it does not."""

import os
import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from flownexus_appliance.pki.selfsigned import ServerCertificate, ensure_certificate, provisional_status
from flownexus_appliance.system.clock import PLAUSIBLE_FROM

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "state" / "https.crt", tmp_path / "state" / "https.key"


def ensure(paths: tuple[Path, Path], now: datetime = NOW, host: str = "pi") -> ServerCertificate:
    return ensure_certificate(*paths, host, now.timestamp())


def load(paths: tuple[Path, Path]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(paths[0].read_bytes())


def test_it_is_made_for_this_box(paths: tuple[Path, Path]) -> None:
    assert ensure(paths).made
    made = load(paths)
    public = made.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.curve.name == "secp256r1"
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "pi", "pi.local"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert made.not_valid_before_utc <= NOW - DAY
    assert made.not_valid_after_utc - made.not_valid_before_utc <= 825 * DAY


def test_only_its_owner_reads_the_key(paths: tuple[Path, Path]) -> None:
    old = os.umask(0)
    try:
        ensure(paths)
    finally:
        os.umask(old)
    assert stat.S_IMODE(paths[1].stat().st_mode) == 0o600
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["https.crt", "https.key"]


def test_a_server_can_use_it(paths: tuple[Path, Path]) -> None:
    ensure(paths)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*paths)


def test_it_is_kept_while_it_serves(paths: tuple[Path, Path]) -> None:
    first = ensure(paths)
    again = ensure(paths, NOW + 700 * DAY)
    assert not again.made
    assert again.fingerprint == first.fingerprint


def other_key(paths: tuple[Path, Path]) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    paths[1].write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda paths: paths[0].unlink(),
        lambda paths: paths[1].unlink(),
        lambda paths: paths[0].write_bytes(b"no certificate"),
        lambda paths: paths[1].write_bytes(b""),
        other_key,
    ],
)
def test_it_is_made_anew_when_the_files_are_of_no_use(
    paths: tuple[Path, Path], spoil: Callable[[tuple[Path, Path]], object]
) -> None:
    first = ensure(paths)
    spoil(paths)
    again = ensure(paths)
    assert again.made
    assert again.fingerprint != first.fingerprint
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*paths)


def test_it_is_made_anew_in_time(paths: tuple[Path, Path]) -> None:
    first = ensure(paths)
    assert not ensure(paths, first.not_after - 31 * DAY).made
    assert ensure(paths, first.not_after - 29 * DAY).made


def test_a_box_of_another_name_gets_another(paths: tuple[Path, Path]) -> None:
    ensure(paths)
    assert ensure(paths, host="attic").made


@pytest.mark.parametrize("host", ["", "localhost", "ümlaut", "a" * 70, "under_score"])
def test_a_name_that_is_none_does_not_stop_it(paths: tuple[Path, Path], host: str) -> None:
    ensure(paths, host=host)
    names = load(paths).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]


def test_an_unset_clock_neither_spoils_nor_replaces(paths: tuple[Path, Path]) -> None:
    """A box without a clock battery starts in 1970: what it makes then serves in 2026 as well."""
    unset = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
    ensure(paths, unset)
    assert load(paths).not_valid_before_utc <= PLAUSIBLE_FROM
    assert not ensure(paths, PLAUSIBLE_FROM).made
    assert not ensure(paths, NOW).made
    assert not ensure(paths, unset).made


def test_one_made_by_a_clock_that_ran_ahead_is_replaced(paths: tuple[Path, Path]) -> None:
    ensure(paths, NOW + 3000 * DAY)
    assert ensure(paths).made
    assert load(paths).not_valid_before_utc <= NOW


def test_the_page_can_tell_what_it_is(paths: tuple[Path, Path]) -> None:
    assert provisional_status(paths[0]) is None
    made = ensure(paths)
    status = provisional_status(paths[0])
    assert status is not None
    assert (status.kind, status.state, status.next_step) == ("https", "provisional", None)
    assert (status.fingerprint, status.not_after) == (made.fingerprint, made.not_after)
    assert status.reason.startswith("It is signed by itself")
    paths[0].write_bytes(b"no certificate")
    assert provisional_status(paths[0]) is None
