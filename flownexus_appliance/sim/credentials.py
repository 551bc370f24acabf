"""What simulated devices prove themselves with, and where it comes from: words, lists, files.

LwM2M Transport 1.1.1 section 5.2 (PSK, X.509). `{name}` in an identity or a file name stands for the
Endpoint Client Name, so that a fleet needs one line. Keys never leave this module in a message.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from ..coap.dtls.engine import MAX_IDENTITY_BYTES, MAX_PSK_BYTES, Chain, Context
from ..errors import UsageError, clean

NAME: Final = "{name}"
DERIVE: Final = "derive:"
DERIVED_BYTES: Final = 16
MAX_FILE_BYTES: Final = 16 << 20
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----(.*?)-----END \1-----", re.DOTALL)
_CERTIFICATE: Final = b"CERTIFICATE"
_KEYS: Final = frozenset({b"PRIVATE KEY", b"EC PRIVATE KEY"})
_DER_SEQUENCE: Final = 0x30


@dataclass(frozen=True, slots=True)
class Psk:
    """A pre-shared key and the identity it goes by."""

    identity: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A device's certificate chain with its key, and the roots it verifies the server by; all DER."""

    chain: Chain
    roots: tuple[bytes, ...] = field(repr=False)


Credential: TypeAlias = Psk | Certificate


class Credentials(Protocol):
    """Where the devices of a fleet have their credentials from."""

    def of(self, name: str) -> Credential:
        """The credential of a device; raises UsageError("credential_unusable")."""


@dataclass(frozen=True, slots=True)
class PskPattern:
    """One identity and one key for all; with `derive` each device's key is its own (HMAC-SHA256)."""

    identity: str
    key: bytes = field(repr=False)
    derive: bool = False

    def of(self, name: str) -> Psk:
        key = self.key
        if self.derive:
            key = hmac.digest(self.key, name.encode(), hashlib.sha256)[:DERIVED_BYTES]
        return _checked(self.identity.replace(NAME, name), key)


@dataclass(frozen=True, slots=True)
class PskList:
    """Credentials by the name of the device."""

    entries: Mapping[str, Psk] = field(repr=False)

    def of(self, name: str) -> Psk:
        if name not in self.entries:
            raise _unusable(f"no PSK for {clean(name)}", "add a line `name identity hexkey` for it")
        return self.entries[name]


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Files in PEM or DER: the device's certificate, its key, the CA that the server must come from."""

    certificate: str
    key: str
    ca: str

    def of(self, name: str) -> Certificate:
        certificates, key, ca = (text.replace(NAME, name) for text in (self.certificate, self.key, self.ca))
        chain = Chain(_certificates_of(certificates), _key_of(key))
        found = Certificate(chain, _certificates_of(ca))
        try:
            context(found, cid_bytes=0)
        except ValueError as error:
            raise _unusable(
                f"{clean(certificates)}, {clean(key)} and {clean(ca)} do not go together: {error}",
                "give a certificate, the key it was made for, and the CA of the server",
            ) from None
        return found


def context(credential: Credential, cid_bytes: int, timeouts_ms: tuple[int, int] = (1000, 60_000)) -> Context:
    """What DTLS sessions of a device are made by; raises ValueError for what cannot be used."""
    if isinstance(credential, Psk):
        psk = (credential.identity, credential.key)
        return Context(client=True, psk=psk, cid_bytes=cid_bytes, timeouts_ms=timeouts_ms)
    return Context(
        client=True,
        chain=credential.chain,
        roots=credential.roots,
        cid_bytes=cid_bytes,
        timeouts_ms=timeouts_ms,
    )


def choose(
    dtls: bool, psk: str | None, psk_file: Path | None, files: tuple[str | None, str | None, str | None]
) -> Credentials | None:
    """The one kind of credential the words of a command name, None for no DTLS at all.

    `files` are certificate, key and CA. Raises UsageError: "credential_unusable", and
    "credentials_unclear" for none, for more than one kind, and for certificates without a part.
    """
    given = [psk is not None, psk_file is not None, any(files)]
    if not dtls and any(given):
        raise UsageError("credentials_unclear", "credentials without DTLS", "add --dtls")
    if not dtls:
        return None
    if given.count(True) != 1:
        raise UsageError(
            "credentials_unclear",
            "DTLS with no credentials" if not any(given) else "credentials of more than one kind",
            "give one of: --psk IDENTITY:HEXKEY, --psk-file FILE, --cert FILE --key FILE --ca FILE",
        )
    if psk is not None:
        return parse_psk(psk)
    if psk_file is not None:
        return read_psk_file(psk_file)
    certificate, key, ca = files
    if not (certificate and key and ca):
        raise UsageError(
            "credentials_unclear", "certificates without a part", "give all of --cert, --key and --ca"
        )
    return CertificateFiles(certificate, key, ca)


def parse_psk(text: str) -> PskPattern:
    """Read `IDENTITY:HEXKEY` or `IDENTITY:derive:HEX`; raises UsageError("credential_unusable").

    The identity may hold colons, as `urn:imei:490154203237518` does.
    """
    identity, _, digits = text.rpartition(":")
    derive = identity.endswith(":" + DERIVE[:-1])
    if derive:
        identity = identity.removesuffix(":" + DERIVE[:-1])
    key = _unhex(digits)
    _checked(identity, key)
    return PskPattern(identity, key, derive)


def read_psk_file(path: Path) -> PskList:
    """Read lines of `name identity hexkey`; `#` begins a comment. Raises UsageError, naming the line."""
    try:
        lines = _read(path).decode().splitlines()
    except UnicodeDecodeError:
        raise _unusable(f"{path} is not text", "write lines of `name identity hexkey`") from None
    entries: dict[str, Psk] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3 or words[0] in entries:
            what = "a name given twice" if len(words) == 3 else "not three words"
            raise _unusable(f"{path}, line {number}: {what}", "write lines of `name identity hexkey`")
        try:
            entries[words[0]] = _checked(words[1], _unhex(words[2]))
        except UsageError as error:
            raise _unusable(f"{path}, line {number}: {error.message}", error.hint) from None
    return PskList(entries)


def read_certificates(data: bytes) -> tuple[bytes, ...]:
    """The certificates in PEM text or in DER, one behind the other, as DER; raises ValueError."""
    if _PEM.search(data):
        found = tuple(_unarmoured(body) for label, body in _PEM.findall(data) if label == _CERTIFICATE)
    else:
        found = tuple(_split_der(data))
    if not found:
        raise ValueError("no certificate")
    return found


def read_key(data: bytes) -> bytes:
    """The private key in PEM text or in DER (PKCS #8 or SEC 1), as DER; raises ValueError."""
    if _PEM.search(data):
        # `openssl ecparam -genkey` writes the curve's parameters in front of the key.
        keys = [_unarmoured(body) for label, body in _PEM.findall(data) if label in _KEYS]
    else:
        keys = _split_der(data)
    if len(keys) != 1:
        raise ValueError("not one private key without a passphrase")
    return keys[0]


def _split_der(data: bytes) -> list[bytes]:
    """Take apart what stands one behind the other: X.690 8.1.3, a SEQUENCE and its length."""
    pieces = []
    while data:
        if len(data) < 2 or data[0] != _DER_SEQUENCE:
            raise ValueError("neither PEM nor DER")
        size, header = data[1], 2
        if size & 0x80:
            header += size & 0x7F
            size = int.from_bytes(data[2:header], "big")
        if header > 5 or header + size > len(data):
            raise ValueError("DER cut short")
        pieces.append(data[: header + size])
        data = data[header + size :]
    return pieces


def _unarmoured(body: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        raise ValueError("PEM that is not base64") from None


# The same chain of roots is every device's.
@lru_cache(maxsize=8)
def _certificates_of(path: str) -> tuple[bytes, ...]:
    try:
        return read_certificates(_read(Path(path)))
    except ValueError as error:
        raise _unusable(f"{clean(path)}: {error}", "give certificates in PEM or DER") from None


def _key_of(path: str) -> bytes:
    try:
        return read_key(_read(Path(path)))
    except ValueError as error:
        raise _unusable(f"{clean(path)}: {error}", "give a key in PEM or DER, without a passphrase") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise _unusable(
            f"{clean(str(path))}: {error.strerror}", "give a file that is there and can be read"
        ) from None


def _checked(identity: str, key: bytes) -> Psk:
    if not 1 <= len(identity.encode()) <= MAX_IDENTITY_BYTES:
        raise _unusable("a PSK identity that does not fit", f"it has 1 to {MAX_IDENTITY_BYTES} bytes")
    if not 1 <= len(key) <= MAX_PSK_BYTES:
        raise _unusable("a PSK that does not fit", f"it has 1 to {MAX_PSK_BYTES} bytes, usually 16")
    return Psk(identity.encode(), key)


def _unhex(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError:
        # Without what was given: it may be a key with one digit mistyped.
        raise _unusable("a PSK that is not hexadecimal", "write it as IDENTITY:0123abcd…") from None


def _unusable(what: str, hint: str) -> UsageError:
    return UsageError("credential_unusable", what, hint)
