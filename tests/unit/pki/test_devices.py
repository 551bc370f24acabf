"""Certificates for devices: named exactly, for clients only; and whose request is believed."""

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from flownexus_appliance.errors import UsageError
from flownexus_appliance.pki.authority import Authority
from flownexus_appliance.pki.devices import MAX_REQUEST_BYTES

from .house import DAY, ENDPOINT, NOW, YEAR, ensured, parse
from .verify import EXPIRED, openssl_error

P256 = ec.SECP256R1()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return ensured(tmp_path_factory.mktemp("state") / "pki")


def request(
    name: str = ENDPOINT, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None
) -> x509.CertificateSigningRequest:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key or ec.generate_private_key(P256), hashes.SHA256())


def der(made: x509.CertificateSigningRequest) -> bytes:
    return made.public_bytes(serialization.Encoding.DER)


def code(act: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as caught:
        act()
    assert caught.value.hint
    return caught.value.code


def test_what_a_devices_certificate_says(authority: Authority) -> None:
    made = authority.issue(ENDPOINT, NOW)
    found = parse(made.certificate)
    assert found.subject == x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ENDPOINT)])
    assert bytes([0x0C, len(ENDPOINT)]) + ENDPOINT.encode() in made.certificate  # UTF8String
    purpose = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purpose) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    usage = found.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert found.not_valid_before_utc == datetime(1970, 1, 1, tzinfo=UTC)
    assert found.not_valid_after_utc == made.not_after == (NOW + 2 * YEAR).replace(microsecond=0)
    assert (made.serial, made.fingerprint) == (found.serial_number, found.fingerprint(hashes.SHA256()))
    found.verify_directly_issued_by(parse(authority.newest_root))
    assert len(made.certificate) < 500


def test_it_is_for_clients_until_its_end(authority: Authority) -> None:
    made = authority.issue(ENDPOINT, NOW, 10 * DAY)
    chain = [made.certificate]
    assert openssl_error(authority.roots(), chain, NOW + 9 * DAY, purpose="sslclient") == 0
    assert openssl_error(authority.roots(), chain, NOW + 11 * DAY, purpose="sslclient") == EXPIRED
    assert authority.accepted_until(made.certificate) == made.not_after


def test_the_key_belongs_to_it_and_is_not_shown(authority: Authority) -> None:
    made = authority.issue(ENDPOINT, NOW)
    key = serialization.load_der_private_key(made.key, password=None)
    assert key.public_key() == parse(made.certificate).public_key()
    assert "key=" not in repr(made)
    assert repr(made.key)[2:30] not in repr(made)


def test_no_two_are_alike(authority: Authority) -> None:
    one, two = authority.issue(ENDPOINT, NOW), authority.issue(ENDPOINT, NOW)
    assert one.serial != two.serial
    assert one.key != two.key
    assert one.fingerprint != two.fingerprint


@pytest.mark.parametrize(
    "name", ["a", "x" * 64, "ü" * 32, "Pumpe 3 (Süd)", 'a"b,c=d+e\\f', "日本", "urn:dev:os:1"]
)
def test_names_are_carried_exactly(authority: Authority, name: str) -> None:
    found = parse(authority.issue(name, NOW).certificate)
    assert [part.value for part in found.subject] == [name]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("x" * 65, "name_too_long"),
        ("ü" * 33, "name_too_long"),
        ("", "name_invalid"),
        (" a", "name_invalid"),
        ("a ", "name_invalid"),
        ("a\n", "name_invalid"),
        ("a\0b", "name_invalid"),
        ("\ud800", "name_invalid"),
        ("\u202egnp", "name_invalid"),
    ],
)
def test_names_that_a_certificate_cannot_carry(authority: Authority, name: str, wrong: str) -> None:
    assert code(lambda: authority.issue(name, NOW)) == wrong
    assert code(lambda: authority.issue_for(name, der(request()), NOW)) == wrong


@pytest.mark.parametrize("valid", [timedelta(0), -DAY, timedelta(milliseconds=900), 21 * YEAR])
def test_a_life_is_bounded_by_the_roots(authority: Authority, valid: timedelta) -> None:
    assert code(lambda: authority.issue(ENDPOINT, NOW, valid)) == "validity_invalid"


@pytest.mark.parametrize("encoding", [serialization.Encoding.DER, serialization.Encoding.PEM])
def test_a_device_that_made_its_own_key_keeps_it(
    authority: Authority, encoding: serialization.Encoding
) -> None:
    key = ec.generate_private_key(P256)
    made = authority.issue_for(ENDPOINT, request(key=key).public_bytes(encoding), NOW, 30 * DAY)
    assert made.key == b""
    assert made.not_after == (NOW + 30 * DAY).replace(microsecond=0)
    found = parse(made.certificate)
    assert found.public_key() == key.public_key()
    assert openssl_error(authority.roots(), [made.certificate], NOW, purpose="sslclient") == 0


def test_openssls_requests_are_read(authority: Authority, tmp_path: Path) -> None:
    command = (
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out request -subj"
    )
    subprocess.run(
        [*command.split(), f"/O=Somebody/CN={ENDPOINT}"], cwd=tmp_path, check=True, capture_output=True
    )
    made = authority.issue_for(ENDPOINT, (tmp_path / "request").read_bytes(), NOW)
    assert parse(made.certificate).subject.rfc4514_string() == f"CN={ENDPOINT}"


def test_a_request_gets_nothing_beyond_its_key_and_name(authority: Authority) -> None:
    asked = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(
            x509.Name(
                [
                    x509.NameAttribute(NameOID.ORGANIZATION_NAME, "FlowNexus appliance"),
                    x509.NameAttribute(NameOID.COMMON_NAME, ENDPOINT),
                ]
            )
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("flownexus.local")]), critical=False)
        .sign(ec.generate_private_key(P256), hashes.SHA256())
    )
    found = parse(authority.issue_for(ENDPOINT, der(asked), NOW).certificate)
    own = parse(authority.issue(ENDPOINT, NOW).certificate)
    assert found.subject == own.subject
    for kind in (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage):
        extension = found.extensions.get_extension_for_class(kind)
        assert extension == own.extensions.get_extension_for_class(kind)
    assert len(found.extensions) == len(own.extensions)


def test_requests_of_others_are_refused(authority: Authority) -> None:
    assert code(lambda: authority.issue_for("someone", der(request()), NOW)) == "request_name"
    assert code(lambda: authority.issue_for(ENDPOINT.upper(), der(request()), NOW)) == "request_name"
    nobody = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    unnamed = nobody.sign(ec.generate_private_key(P256), hashes.SHA256())
    assert code(lambda: authority.issue_for(ENDPOINT, der(unnamed), NOW)) == "request_name"
    twice = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in (ENDPOINT, "someone")])
    two = x509.CertificateSigningRequestBuilder().subject_name(twice)
    signed = two.sign(ec.generate_private_key(P256), hashes.SHA256())
    assert code(lambda: authority.issue_for(ENDPOINT, der(signed), NOW)) == "request_name"


def test_a_request_proves_that_its_sender_has_the_key(authority: Authority) -> None:
    for position in (-1, len(der(request())) // 2):
        altered = bytearray(der(request()))
        altered[position] ^= 1
        refused = code(partial(authority.issue_for, ENDPOINT, bytes(altered), NOW))
        assert refused in ("request_unsigned", "request_unreadable", "request_key_unsupported")
    # Another's request with one's own name in it, signed by nobody.
    theirs = der(request("someone"))
    ours = theirs.replace(b"someone", b"me-too!")
    assert code(lambda: authority.issue_for("me-too!", ours, NOW)) == "request_unsigned"


def test_only_the_curve_that_all_speak(authority: Authority) -> None:
    other = request(key=ec.generate_private_key(ec.SECP384R1()))
    assert code(lambda: authority.issue_for(ENDPOINT, der(other), NOW)) == "request_key_unsupported"
    strong = request(key=rsa.generate_private_key(65537, 2048))
    assert code(lambda: authority.issue_for(ENDPOINT, der(strong), NOW)) == "request_key_unsupported"
    edwards = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(request().subject)
        .sign(ed25519.Ed25519PrivateKey.generate(), None)
    )
    assert code(lambda: authority.issue_for(ENDPOINT, der(edwards), NOW)) == "request_key_unsupported"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"\x30",
        b"-----BEGIN CERTIFICATE REQUEST-----\n",
        b"-----BEGIN CERTIFICATE REQUEST-----\n!!!!\n-----END CERTIFICATE REQUEST-----\n",
        der(request())[:-1],
        der(request()) + b"\0",
        b"\x30\x84\x7f\xff\xff\xff" + b"\0" * 64,
        b"\0" * (MAX_REQUEST_BYTES + 1),
    ],
)
def test_what_is_no_request(authority: Authority, nonsense: bytes) -> None:
    assert code(lambda: authority.issue_for(ENDPOINT, nonsense, NOW)) == "request_unreadable"
