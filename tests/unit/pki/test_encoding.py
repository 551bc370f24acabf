"""Certificates and keys as others read them: `openssl` is the reader here."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flownexus_appliance.pki import encoding
from flownexus_appliance.pki.profile import UNREADABLE

from .house import ENDPOINT, NOW, ensured


def openssl(*arguments: str, given: bytes) -> bytes:
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def key() -> bytes:
    return encoding.key_der(ec.generate_private_key(ec.SECP256R1()))


def test_a_key_is_read_in_each_of_its_forms(key: bytes) -> None:
    public = openssl("pkey", "-inform", "DER", "-pubout", given=key)
    assert openssl("ec", "-inform", "DER", "-pubout", given=encoding.sec1_of_key(key)) == public
    assert openssl("pkey", "-inform", "PEM", "-pubout", given=encoding.pem_of_key(key).encode()) == public


def test_which_form_is_which(key: bytes) -> None:
    """PKCS#8 names the algorithm before the key; SEC1 starts with version 1 and the key itself."""
    assert key[:5] == bytes.fromhex("3081870201")
    assert len(key) == 138
    assert encoding.sec1_of_key(key)[:7] == bytes.fromhex("30770201010420")
    assert encoding.pem_of_key(key).startswith("-----BEGIN PRIVATE KEY-----\n")
    assert encoding.pem_of_key(key).endswith("-----END PRIVATE KEY-----\n")  # modems want the last newline


def test_certificates_become_one_text_in_their_order(tmp_path: Path) -> None:
    authority = ensured(tmp_path / "pki")
    authority.roll_over(NOW)
    chain = authority.dtls_chain().certificates
    text = encoding.pem_of_certificates(*chain)
    assert text.count("-----BEGIN CERTIFICATE-----\n") == 2
    assert openssl("x509", "-outform", "DER", given=text.encode()) == chain[0]
    second = text[text.index("-----END") :]
    assert openssl("x509", "-outform", "DER", given=second.encode()) == chain[1]


def test_what_is_no_key_of_ours(key: bytes) -> None:
    other = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for given in (b"", key[:-1], other, ENDPOINT.encode()):
        with pytest.raises(UNREADABLE):
            encoding.load_key_der(given)
