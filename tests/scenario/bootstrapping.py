"""A LwM2M client that bootstraps, played by hand: it takes what it is given and keeps an account of it.

LwM2M Core 1.1.1 6.1.7, appendix E.1 (object 0); RFC 7959 (Block1). SenML CBOR by cbor2.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import load_der_x509_certificate

from tests.interop.daemon import Certificate, Credential, Psk
from tests.peer import (
    ACCEPT,
    BLOCK1,
    CHANGED,
    CONTENT,
    CONTENT_FORMAT,
    CONTINUE,
    DELETE,
    DELETED,
    GET,
    LINKS,
    POST,
    PUT,
    SENML_CBOR,
    SIZE1,
    Block,
    DevicePeer,
    Frame,
)

OPAQUE: Final = 42
DISCOVERED: Final = b'</>;lwm2m="1.1",</0/0>'
ACCOUNT: Final = "/0/1"
PSK_MODE, CERTIFICATE_MODE, NO_SEC_MODE = 0, 2, 3
_BASE_NAME, _NAME = -2, 0
_VALUES: Final = (2, 3, 4, 8)  # number, text, boolean, bytes (RFC 8428 6)


@dataclass(slots=True)
class Written:
    """One Write: where, in what form, and with how many blocks."""

    path: str
    content_format: int
    size: int
    blocks: tuple[Block, ...] = ()
    announced: int | None = None  # Size1 of the first block


@dataclass(slots=True)
class Bootstrapper:
    """One client; `values` are what it was given, `steps` what it was asked."""

    peer: DevicePeer
    values: dict[str, object] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    writes: list[Written] = field(default_factory=list)
    _parts: list[Frame] = field(default_factory=list)

    async def ask(self, endpoint: str, *more: str) -> Frame:
        """Send the Bootstrap-Request; what it is answered."""
        name = (f"ep={endpoint}",) if endpoint else ()
        request = self.peer.request(POST, "/bs", query=(*name, f"pct={SENML_CBOR}", *more))
        return await self.peer.reply(request)

    async def bootstrap(self, endpoint: str, until: str = "finish") -> None:
        """Ask, and do what it is told until it has done the step `until`."""
        assert (await self.ask(endpoint)).status == "2.04"
        await self.serve(until)

    async def serve(self, until: str = "finish") -> None:
        while until not in self.steps:
            self.do(await self.peer.asked())

    def do(self, request: Frame) -> None:
        """Do one thing it is asked, and answer."""
        if request.code == GET and request.number(ACCEPT) == LINKS:
            self.steps.append("discover")
            self.peer.answer(request, CONTENT, DISCOVERED, content_format=LINKS)
        elif request.code == DELETE:
            self.steps.append(f"delete {request.path}")
            self.peer.answer(request, DELETED)
        elif request.code == PUT:
            self._write(request)
        else:
            assert (request.code, request.path) == (POST, "/bs"), request
            self.steps.append("finish")
            self.peer.answer(request, CHANGED)

    def _write(self, request: Frame) -> None:
        raw = request.one(BLOCK1)
        if raw is None:
            self._take([request])
            self.peer.answer(request, CHANGED)
            return
        block = Block.decode(raw)
        assert block.number == len(self._parts), "blocks come in order"
        self._parts.append(request)
        if not block.more:
            self._take(self._parts)
            self._parts = []
        self.peer.answer(request, CONTINUE if block.more else CHANGED, block1=block)

    def _take(self, parts: list[Frame]) -> None:
        path, form = parts[0].path, parts[0].number(CONTENT_FORMAT)
        payload = b"".join(part.payload for part in parts)
        assert form is not None
        blocks = tuple(Block.decode(raw) for part in parts if (raw := part.one(BLOCK1)) is not None)
        self.writes.append(Written(path, form, len(payload), blocks, parts[0].number(SIZE1)))
        self.steps.append(f"write {path}")
        if form == OPAQUE:
            self.values[path] = payload
            return
        assert form == SENML_CBOR, f"Content-Format {form}"
        self.learn(cbor2.loads(payload))

    def learn(self, entries: Iterable[dict[int, Any]]) -> None:
        """Keep what a SenML pack says."""
        base = ""
        for entry in entries:
            base = entry.get(_BASE_NAME, base)
            (value,) = (entry[label] for label in _VALUES if label in entry)
            self.values[base + entry.get(_NAME, "")] = value

    # What it has been given

    @property
    def port(self) -> int:
        """The port at which it is to register."""
        return int(str(self.values[f"{ACCOUNT}/0"]).rpartition(":")[2])

    def credential(self, folder: Path) -> Credential:
        """What it is to prove itself by; a certificate comes into files, as all others do."""
        mode, identity, root, key = (self.values[f"{ACCOUNT}/{number}"] for number in (2, 3, 4, 5))
        assert isinstance(identity, bytes)
        assert isinstance(root, bytes)
        assert isinstance(key, bytes)
        if mode == PSK_MODE:
            return Psk(identity.decode(), key.hex())
        assert mode == CERTIFICATE_MODE
        private = serialization.load_der_private_key(key, None).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Certificate.into(folder, "given", _pem(identity), private.decode(), _pem(root))


def _pem(der: bytes) -> str:
    return load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM).decode()
