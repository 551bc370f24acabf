"""The box's certificates: made once, kept while they serve, made anew in time and for a reason."""

import ipaddress
import os
import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from flownexus_appliance.errors import UsageError
from flownexus_appliance.pki.authority import Authority
from flownexus_appliance.pki.errors import PkiError
from flownexus_appliance.pki.names import ServerNames
from flownexus_appliance.system.clock import PLAUSIBLE_FROM, SIGNS_UNTIL

from .house import DAY, ENDPOINT, NAMES, NOW, YEAR, contents, ensured, loaded, open_keys, parse
from .verify import EXPIRED, NO_ISSUER, NOT_YET_VALID, WRONG_HOST, WRONG_PURPOSE, accepted, openssl_error

HOST = "flownexus.local"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "pki"


@pytest.fixture
def authority(folder: Path) -> Authority:
    return ensured(folder)


def https_chain(authority: Authority) -> tuple[bytes, ...]:
    found = x509.load_pem_x509_certificates(authority.https_files().chain.read_bytes())
    return tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in found)


def leafs(authority: Authority) -> tuple[bytes, bytes]:
    return authority.dtls_chain().certificates[0], https_chain(authority)[0]


def test_the_first_start_makes_a_root_and_two_server_certificates(folder: Path) -> None:
    authority = loaded(folder)
    assert not authority.ready
    assert not folder.exists()
    messages = [change.message for change in authority.ensure(NAMES, NOW)]
    assert [m.partition(", because ")[2] for m in messages] == [
        "the box had none yet; it is valid until 2046-11-22.",
        "there was none yet; it is valid until 2027-02-20.",
        "there was none yet; it is valid until 2027-02-20.",
    ]
    assert messages[0].startswith("The new root FlowNexus root 1 ")
    assert messages[1].startswith("The certificate for devices (DTLS) was made anew")
    assert messages[2].startswith("The certificate for browsers (HTTPS) was made anew")
    assert authority.ready


def test_only_their_owner_reads_keys_and_folder(folder: Path) -> None:
    mask = os.umask(0)
    try:
        ensured(folder)
    finally:
        os.umask(mask)
    assert open_keys(folder) == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(contents(folder)) == [
        "dtls-1.crt", "dtls-1.key", "https-1.crt", "https-1.key", "index.json", "root-1.crt", "root-1.key"
    ]  # fmt: skip


def test_what_a_root_says(authority: Authority) -> None:
    """RFC 5280 4.2.1.2, 4.2.1.3, 4.2.1.9: what a certificate authority's own certificate has."""
    (root,) = (parse(der) for der in authority.roots())
    assert root.public_bytes(serialization.Encoding.DER) == authority.newest_root
    assert root.subject == root.issuer
    assert root.subject.rfc4514_string().startswith("CN=FlowNexus root 1 ")
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, None)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.crl_sign
    assert not usage.value.digital_signature
    assert root.not_valid_before_utc == datetime(1970, 1, 1, tzinfo=UTC)
    assert root.not_valid_after_utc == NOW.replace(year=2046, microsecond=0)
    assert root.serial_number.bit_length() > 100
    # 4.2.1.1: a self-signed certificate may do without the authority's key identifier, which is its own.
    assert len(root.extensions) == 3


@pytest.mark.parametrize("kind", ["dtls", "https"])
def test_what_a_server_certificate_says(authority: Authority, kind: str) -> None:
    leaf = parse(leafs(authority)[kind == "https"])
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "flownexus", HOST]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "192.168.1.20"]
    purpose = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purpose) == [ExtendedKeyUsageOID.SERVER_AUTH]
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    root = parse(authority.newest_root).extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    by = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    # By key only: an issuer and serial number in it would fit one of the issuer's two certificates.
    assert (by.key_identifier, by.authority_cert_issuer) == (root.digest, None)
    assert leaf.not_valid_after_utc == (NOW + 90 * DAY).replace(microsecond=0)
    begins = datetime(1970, 1, 1, tzinfo=UTC) if kind == "dtls" else (NOW - 2 * DAY).replace(microsecond=0)
    assert leaf.not_valid_before_utc == begins


@pytest.mark.parametrize("host", ["localhost", "flownexus", HOST, "127.0.0.1", "::1", "192.168.1.20"])
def test_verifiers_accept_both_under_every_name(authority: Authority, host: str) -> None:
    option = "-verify_ip" if host[0].isdigit() or ":" in host else "-verify_hostname"
    for chain in (authority.dtls_chain().certificates, https_chain(authority)):
        assert accepted(authority.roots(), chain, NOW, host)
        assert openssl_error(authority.roots(), chain, NOW, option, host) == 0


def test_verifiers_refuse_what_they_should(authority: Authority, tmp_path: Path) -> None:
    roots, chain = authority.roots(), https_chain(authority)
    other = ensured(tmp_path / "other").roots()
    for when, error in ((NOW + 91 * DAY, EXPIRED), (NOW - 3 * DAY, NOT_YET_VALID)):
        assert openssl_error(roots, chain, when) == error
        assert not accepted(roots, chain, when, HOST)
    assert openssl_error(other, chain, NOW) == NO_ISSUER
    assert not accepted(other, chain, NOW, HOST)
    assert openssl_error(roots, chain, NOW, "-verify_hostname", "else.where") == WRONG_HOST
    assert not accepted(roots, chain, NOW, "else.where")
    assert openssl_error(roots, chain, NOW, purpose="sslclient") == WRONG_PURPOSE
    device = (authority.issue(ENDPOINT, NOW).certificate,)
    assert openssl_error(roots, device, NOW) == WRONG_PURPOSE
    assert openssl_error(roots, device, NOW, purpose="sslclient") == 0


def test_a_device_without_a_clock_accepts_the_dtls_chain(authority: Authority) -> None:
    woke_up = datetime(1970, 1, 1, 0, 3, tzinfo=UTC)
    assert openssl_error(authority.roots(), authority.dtls_chain().certificates, woke_up) == 0
    assert openssl_error(authority.roots(), https_chain(authority), woke_up) == NOT_YET_VALID


def test_the_dtls_key_is_the_leafs(authority: Authority) -> None:
    chain = authority.dtls_chain()
    key = serialization.load_der_private_key(chain.key, password=None)
    assert key.public_key() == parse(chain.certificates[0]).public_key()
    assert repr(chain.key) not in repr(chain)


def test_a_tls_server_and_a_strict_client_agree(authority: Authority) -> None:
    """The handshake in memory, by OpenSSL with all its checks of RFC 5280."""
    files = authority.https_files()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.chain, files.key)
    client = ssl.create_default_context(cadata=authority.newest_root)
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = server.wrap_bio(up, down, server_side=True)
    asking = client.wrap_bio(down, up, server_hostname="localhost")
    for _ in range(4):
        for side in (asking, serving):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert asking.getpeercert(binary_form=True) == https_chain(authority)[0]


def test_nothing_is_done_where_nothing_is_due(authority: Authority, folder: Path) -> None:
    before = contents(folder)
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    for now in (NOW, NOW - DAY, NOW + 59 * DAY):
        assert authority.ensure(NAMES, now) == ()
        assert loaded(folder).ensure(NAMES, now) == ()
    assert contents(folder) == before
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps


def because(
    authority: Authority, now: datetime, names: ServerNames = NAMES, validity: timedelta = 90 * DAY
) -> list[tuple[str, str]]:
    """Ensures, and tells what was made anew and why."""
    changes = authority.ensure(names, now, validity)
    return [(c.kind.value, c.message.partition(", because ")[2].partition(";")[0]) for c in changes]


def test_both_are_rotated_at_two_thirds_of_their_life(authority: Authority, folder: Path) -> None:
    before = leafs(authority)
    later = NOW + 60 * DAY
    reason = "two thirds of its life were over"
    assert because(authority, later) == [("dtls", reason), ("https", reason)]
    after = leafs(authority)
    assert not set(before) & set(after)
    assert parse(before[0]).public_key() != parse(after[0]).public_key()
    assert parse(after[0]).not_valid_after_utc == (later + 90 * DAY).replace(microsecond=0)
    assert accepted(authority.roots(), authority.dtls_chain().certificates, later, HOST)
    assert sorted(contents(folder)) == [
        "dtls-2.crt", "dtls-2.key", "https-2.crt", "https-2.key", "index.json", "root-1.crt", "root-1.key"
    ]  # fmt: skip
    assert leafs(loaded(folder)) == after


def test_one_that_ended_while_the_box_was_off_is_made_anew(authority: Authority) -> None:
    ended = "it had ended"
    assert because(authority, NOW + 400 * DAY) == [("dtls", ended), ("https", ended)]


def test_a_short_life_may_be_asked_for(authority: Authority) -> None:
    """So that a rotation under load can be watched."""
    three = timedelta(seconds=3.7)
    other = "it is to be valid for another span of time"
    assert because(authority, NOW, validity=three) == [("dtls", other), ("https", other)]
    assert because(authority, NOW + timedelta(seconds=1.5), validity=three) == []
    assert len(because(authority, NOW + timedelta(seconds=2), validity=three)) == 2


@pytest.mark.parametrize("validity", [timedelta(0), -DAY, timedelta(seconds=2), 821 * DAY])
def test_a_life_that_no_client_would_take_is_refused(authority: Authority, validity: timedelta) -> None:
    with pytest.raises(UsageError) as caught:
        authority.ensure(NAMES, NOW, validity)
    assert caught.value.code == "validity_invalid"


def test_other_names_make_others(authority: Authority) -> None:
    names = ServerNames.of("attic", [ipaddress.ip_address("10.0.0.7")])
    reason = "the box's names or addresses have changed"
    assert because(authority, NOW, names) == [("dtls", reason), ("https", reason)]
    assert accepted(authority.roots(), https_chain(authority), NOW, "attic.local")
    assert accepted(authority.roots(), authority.dtls_chain().certificates, NOW, "10.0.0.7")
    assert not accepted(authority.roots(), https_chain(authority), NOW, HOST)


def test_what_a_clock_that_ran_ahead_made_is_made_anew(folder: Path) -> None:
    authority = ensured(folder, NOW + 3 * YEAR)
    reason = "a clock that ran ahead had made it"
    assert because(authority, NOW) == [("dtls", reason), ("https", reason)]
    assert accepted(authority.roots(), https_chain(authority), NOW, HOST)


@pytest.mark.parametrize("kind", ["dtls", "https"])
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda chain, key: chain.unlink(), "is missing"),
        (lambda chain, key: key.unlink(), "is missing"),
        (lambda chain, key: chain.write_bytes(b""), "is damaged"),
        (lambda chain, key: key.write_bytes(key.read_bytes()[:100]), "is damaged"),
        (lambda chain, key: chain.write_bytes(b"\0" * 4096), "is damaged"),
        (lambda chain, key: key.write_bytes(key.with_name("root-1.key").read_bytes()), "another certificate"),
        (lambda chain, key: chain.write_bytes(flip(chain.read_bytes())), "its file was damaged"),
    ],
)
def test_a_damaged_server_certificate_is_made_anew(
    authority: Authority, folder: Path, kind: str, spoil: Callable[[Path, Path], object], reason: str
) -> None:
    before = contents(folder)
    spoil(folder / f"{kind}-1.crt", folder / f"{kind}-1.key")
    again = loaded(folder)  # the root's harm stops a start, a leaf's does not
    ((changed, why),) = because(again, NOW)
    assert changed == kind
    assert reason in why
    assert again.ready
    assert accepted(again.roots(), again.dtls_chain().certificates, NOW, HOST)
    assert accepted(again.roots(), https_chain(again), NOW, HOST)
    assert f"{kind}-1.key" not in contents(folder)
    assert contents(folder)["root-1.key"] == before["root-1.key"]


def flip(pem: bytes) -> bytes:
    """The certificate with one bit of its signature turned."""
    found = bytearray(x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER))
    found[-1] ^= 1
    return x509.load_der_x509_certificate(bytes(found)).public_bytes(serialization.Encoding.PEM)


def test_without_its_file_a_server_certificate_is_not_handed_out(authority: Authority, folder: Path) -> None:
    (folder / "dtls-1.key").unlink()
    (folder / "https-1.key").unlink()
    again = loaded(folder)
    assert not again.ready
    for get in (again.dtls_chain, again.https_files):
        with pytest.raises(PkiError) as caught:
            get()
        assert caught.value.code == "pki_empty"
    # What is in memory serves until then.
    assert authority.dtls_chain().certificates


def test_a_key_that_others_can_read_is_closed_and_told(authority: Authority, folder: Path) -> None:
    (folder / "root-1.key").chmod(0o644)
    (folder / "dtls-1.key").chmod(0o640)
    changes = authority.ensure(NAMES, NOW)
    assert [(c.kind, c.message.split()[2]) for c in changes] == [
        ("dtls", "dtls-1.key"),
        ("root", "root-1.key"),
    ]
    assert open_keys(folder) == []
    assert authority.ensure(NAMES, NOW) == ()


def test_the_operator_may_rotate_at_any_time(authority: Authority) -> None:
    before = leafs(authority)
    changes = authority.rotate_now(NOW, NAMES)
    assert [change.kind for change in changes] == ["dtls", "https"]
    assert all("because the operator asked for it" in change.message for change in changes)
    assert not set(before) & set(leafs(authority))
    assert authority.ensure(NAMES, NOW) == ()


@pytest.mark.parametrize(
    "now",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        PLAUSIBLE_FROM - timedelta(seconds=1),
        SIGNS_UNTIL,
        datetime.max.replace(tzinfo=UTC),
    ],
)
def test_a_clock_that_cannot_be_right_signs_nothing(folder: Path, now: datetime) -> None:
    authority = loaded(folder)
    for act in (lambda: authority.ensure(NAMES, now), lambda: authority.issue(ENDPOINT, now)):
        with pytest.raises(PkiError) as caught:
            act()
        assert caught.value.code == "clock_untrusted"
    assert not folder.exists()
    authority.ensure(NAMES, NOW)
    before = contents(folder)
    for act in (
        lambda: authority.ensure(NAMES, now),
        lambda: authority.rotate_now(now, NAMES),
        lambda: authority.roll_over(now),
        lambda: authority.finish_roll_over(now),
        lambda: authority.issue_for(ENDPOINT, b"", now),
    ):
        with pytest.raises(PkiError) as caught:
            act()
        assert caught.value.code == "clock_untrusted"
    assert contents(folder) == before
    assert authority.dtls_chain().certificates  # what there is goes on serving


def test_an_empty_box_says_so(folder: Path) -> None:
    authority = loaded(folder)
    assert authority.roots() == ()
    assert authority.describe(NOW) == ()
    for ask in (
        lambda: authority.newest_root,
        lambda: authority.issue(ENDPOINT, NOW),
        lambda: authority.issue_for(ENDPOINT, b"", NOW),
        lambda: authority.rotate_now(NOW, NAMES),
        lambda: authority.roll_over(NOW),
    ):
        with pytest.raises(PkiError) as caught:
            ask()
        assert (caught.value.code, "clock" in caught.value.hint) == ("pki_empty", True)
    assert not folder.exists()
