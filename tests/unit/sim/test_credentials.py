"""Credentials of simulated devices: from words, lists and files, and what is said where they do not do."""

import base64
import hashlib
import hmac
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flownexus_appliance.coap.dtls.engine import MAX_PSK_BYTES
from flownexus_appliance.errors import UsageError
from flownexus_appliance.sim.credentials import (
    CertificateFiles,
    Psk,
    choose,
    context,
    parse_psk,
    read_certificates,
    read_key,
    read_psk_file,
)
from flownexus_appliance.sim.options import SimOptions

from .secure_peer import authority, key_der

SECRET = "00112233445566778899aabbccddeeff"


def pem(label: str, der: bytes) -> bytes:
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n".encode()


def refused(error: pytest.ExceptionInfo[UsageError], code: str = "credential_unusable") -> UsageError:
    """The error, which has a hint and does not repeat a key."""
    assert error.value.code == code
    assert error.value.hint
    assert SECRET[:-1] not in error.value.message + error.value.hint
    return error.value


def test_one_identity_for_a_fleet() -> None:
    pattern = parse_psk("urn:dev:{name}:" + SECRET)
    assert pattern.of("sim-0007") == Psk(b"urn:dev:sim-0007", bytes.fromhex(SECRET))
    assert parse_psk("same:" + SECRET).of("sim-0007").identity == b"same"


def test_a_key_for_each_device() -> None:
    pattern = parse_psk("urn:dev:{name}:derive:" + SECRET)
    expected = hmac.new(bytes.fromhex(SECRET), b"sim-0007", hashlib.sha256).digest()[:16]
    assert pattern.of("sim-0007") == Psk(b"urn:dev:sim-0007", expected)
    assert pattern.of("sim-0008").key != expected


@pytest.mark.parametrize(
    "text",
    ["", SECRET, ":" + SECRET, "a:", "a:" + SECRET[:-1], "a:" + SECRET + "x",
     "a:" + "00" * (MAX_PSK_BYTES + 1), "x" * 129 + ":00", "a:derive:", ":derive:00"],
)  # fmt: skip
def test_a_psk_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_psk(text)
    refused(error)


def test_a_list_of_psks(tmp_path: Path) -> None:
    file = tmp_path / "psk"
    file.write_text(f"# the fleet\n\nsim-0001 one {SECRET}\n sim-0002\tzwei:2 ff \n", "utf-8")
    entries = read_psk_file(file)
    assert entries.of("sim-0001") == Psk(b"one", bytes.fromhex(SECRET))
    assert entries.of("sim-0002") == Psk(b"zwei:2", b"\xff")
    with pytest.raises(UsageError, match="no PSK for sim-0003"):
        entries.of("sim-0003")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"sim-0001 one {SECRET}\nsim-0002 two", 2),
        (f"sim-0001 one {SECRET}\nsim-0001 two {SECRET}", 2),
        (f"sim-0001 one {SECRET[:-1]}", 1),
        (f"\nsim-0001 {'x' * 200} {SECRET}", 2),
    ],
)
def test_a_list_with_a_mistake_names_the_line(tmp_path: Path, text: str, line: int) -> None:
    file = tmp_path / "psk"
    file.write_text(text, "utf-8")
    with pytest.raises(UsageError) as error:
        read_psk_file(file)
    assert f"line {line}: " in refused(error).message


def test_a_list_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_psk_file(tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not text"):
        read_psk_file(tmp_path / "bytes")


@pytest.mark.parametrize("armoured", [True, False])
def test_certificates_from_files(tmp_path: Path, armoured: bool) -> None:
    root, leaf = authority("root"), authority("root").leaf("sim-0001")
    for name, label, der in (
        ("sim-0001.crt", "CERTIFICATE", leaf.certificates[0]),
        ("sim-0001.key", "PRIVATE KEY", leaf.key),
        ("ca", "CERTIFICATE", root.der),
    ):
        (tmp_path / name).write_bytes(pem(label, der) if armoured else der)
    files = CertificateFiles(f"{tmp_path}/{{name}}.crt", f"{tmp_path}/{{name}}.key", f"{tmp_path}/ca")
    found = files.of("sim-0001")
    assert (found.chain, found.roots) == (leaf, (root.der,))
    context(found, cid_bytes=0)


def test_files_that_do_not_go_together(tmp_path: Path) -> None:
    leaf, other = authority("root").leaf("one"), authority("root").leaf("two")
    (tmp_path / "crt").write_bytes(leaf.certificates[0])
    (tmp_path / "key").write_bytes(other.key)
    with pytest.raises(UsageError) as error:
        CertificateFiles(f"{tmp_path}/crt", f"{tmp_path}/key", f"{tmp_path}/crt").of("x")
    assert "do not go together" in refused(error).message
    (tmp_path / "key").write_bytes(b"no key")
    with pytest.raises(UsageError) as error:
        CertificateFiles(f"{tmp_path}/crt", f"{tmp_path}/key", f"{tmp_path}/crt").of("x")
    assert "neither PEM nor DER" in refused(error).message
    with pytest.raises(UsageError) as error:
        CertificateFiles(f"{tmp_path}/none", f"{tmp_path}/key", f"{tmp_path}/crt").of("x")
    assert "No such file" in refused(error).message


def test_chains_in_pem_and_in_der() -> None:
    one, two = authority("root").leaf("one").certificates[0], authority("root").der
    assert read_certificates(one + two) == (one, two)
    text = b"some words\n" + pem("CERTIFICATE", one) + pem("CERTIFICATE", two)
    assert read_certificates(text) == (one, two)
    for bad in (b"", b"\0", one[:-1], one + b"x", pem("PRIVATE KEY", one), pem("CERTIFICATE", b"!!")[:-40],
                b"-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----"):  # fmt: skip
        with pytest.raises(ValueError, match=r"certificate|PEM|DER"):
            read_certificates(bad)


def test_keys_as_openssl_writes_them() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    sec1 = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    assert (
        read_key(pem("EC PARAMETERS", b"\x06\x08*\x86H\xce=\x03\x01\x07") + pem("EC PRIVATE KEY", sec1))
        == sec1
    )
    assert read_key(key_der(key)) == key_der(key)
    for bad in (pem("ENCRYPTED PRIVATE KEY", sec1), b"", sec1 + sec1):
        with pytest.raises(ValueError, match="not one private key without a passphrase"):
            read_key(bad)


def test_no_key_in_what_is_shown(tmp_path: Path) -> None:
    pattern = parse_psk("{name}:" + SECRET)
    file = tmp_path / "psk"
    file.write_text(f"sim-0001 one {SECRET}", "utf-8")
    leaf = authority("root").leaf("one")
    shown = repr((pattern, pattern.of("a"), read_psk_file(file), leaf, SimOptions(credentials=pattern)))
    assert repr(bytes.fromhex(SECRET))[2:-1] not in shown
    assert repr(leaf.key)[2:20] not in shown


def test_the_words_of_a_command(tmp_path: Path) -> None:
    none = (None, None, None)
    file = tmp_path / "psk"
    file.write_text(f"sim-0001 one {SECRET}", "utf-8")
    assert choose(False, None, None, none) is None
    assert choose(True, "a:" + SECRET, None, none) == parse_psk("a:" + SECRET)
    assert choose(True, None, file, none) == read_psk_file(file)
    assert choose(True, None, None, ("c", "k", "a")) == CertificateFiles("c", "k", "a")
    for words in (
        (True, None, None, none),
        (True, "a:" + SECRET, file, none),
        (True, None, None, ("c", "k", None)),
        (False, "a:" + SECRET, None, none),
    ):
        with pytest.raises(UsageError) as error:
            choose(*words)
        refused(error, "credentials_unclear")
