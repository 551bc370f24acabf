"""A device by hand over DTLS: what it says and hears is CoAP, what goes over the wire are records.

RFC 6347, RFC 9146. Its DTLS is the engine's client side; its CoAP shares no code with what it tests. It sends
its flights again as RFC 6347 4.2.4 says, keeps all datagrams of both directions, and tells of the end of its
session by an exception.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.x509 import load_pem_x509_certificates

from flownexus_appliance.coap.dtls.engine import Chain, Context, DtlsError
from tests.interop.daemon import Certificate, Credential, Psk
from tests.peer import DEADLINE_S, DevicePeer, Frame
from tests.unit.coap.dtls.secure import SecureDevice

# RFC 6347 4.1 and RFC 9146 4; a device by hand has no Connection ID of its own in front of its records.
ALERT, HANDSHAKE, DATA, WITH_CID = 21, 22, 23, 25
HEADER: Final = 13
SERVER_HELLO, SERVER_HELLO_DONE, FINISHED = 2, 14, 20


class SessionEnded(Exception):
    """The server has ended the session by an alert, close_notify or a fatal one."""


def context(credential: Credential, **more: object) -> Context:
    """The client side's configuration for a credential; `more` as `engine.Context` takes it."""
    named: dict[str, object] = {"client": True, "cid_bytes": 0, **more}
    if isinstance(credential, Psk):
        named["psk"] = credential.identity.encode(), bytes.fromhex(credential.key)
    else:
        if "roots" not in named:
            named["roots"] = roots(credential)
        named["chain"] = chain(credential)
    return Context(**named)  # type: ignore[arg-type]


def chain(credential: Certificate) -> Chain:
    key = serialization.load_pem_private_key(credential.key.read_bytes(), None)
    return Chain(
        _der(credential.certificate.read_bytes()),
        key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def roots(credential: Certificate) -> tuple[bytes, ...]:
    """DER of the roots that a device was given with its certificate, newest first."""
    return _der(credential.roots.read_bytes())


def _der(pem: bytes) -> tuple[bytes, ...]:
    return tuple(c.public_bytes(serialization.Encoding.DER) for c in load_pem_x509_certificates(pem))


@dataclass(slots=True)
class SecurePeer(SecureDevice):
    """A device with a DTLS session; `sent` are all datagrams it put on the wire, `raw` those that came."""

    sent: list[bytes] = field(default_factory=list)
    tamper: Callable[[Sequence[bytes]], Sequence[bytes]] | None = None  # what becomes of a flight on its way

    def flush(self) -> None:
        flight = self.session.take()
        for data in flight if self.tamper is None else self.tamper(flight):
            self.transmit(data)

    def transmit(self, data: bytes) -> None:
        self.sent.append(data)
        DevicePeer.send(self, data)

    async def datagram_raw(self) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self._received()

    async def _received(self) -> bytes:
        """The server's next datagram; a port of the loopback may have been somebody else's before."""
        while True:
            data, source = await asyncio.get_running_loop().sock_recvfrom(self.sock, 65_536)
            if source[:2] == self.server:
                self.raw.append(data)
                return data

    async def finish(self) -> None:
        """The rest of a handshake; its flights are sent again when nothing comes."""
        async with asyncio.timeout(DEADLINE_S):
            done = False
            while not done:
                try:
                    async with asyncio.timeout(self.session.timer()):
                        data: bytes | None = await self.datagram_raw()
                except TimeoutError:
                    data = None
                try:
                    done = self.session.advance(data)
                finally:
                    self.flush()

    async def next_datagram(self) -> bytes:
        """The next CoAP message; raises SessionEnded."""
        while True:
            opened = self.session.open(await self._received())
            self.flush()
            if opened.messages:
                (message,) = opened.messages
                return message
            if opened.closed:
                raise SessionEnded

    def waiting(self) -> list[bytes]:
        """The CoAP messages that are here already."""
        found: list[bytes] = []
        with suppress(BlockingIOError):
            while True:
                data = self.sock.recv(65_536)
                self.raw.append(data)
                found += self.session.open(data).messages
        return found

    async def ended(self) -> None:
        """Wait for the end of the session; what comes before is passed over."""
        async with asyncio.timeout(DEADLINE_S):
            with suppress(SessionEnded):
                while True:
                    await self.next_datagram()

    async def refused(self) -> str:
        """Shake hands where that fails; tells how."""
        try:
            await self.shake()
        except DtlsError as error:
            return error.code
        raise AssertionError("it was let in")

    def record(self, frame: Frame) -> bytes:
        """A message as a record, not sent yet."""
        return self.session.seal(frame.encode())

    def resume(self) -> None:
        """Begin anew with what is known of the present session."""
        self.begin_anew(self.session.freeze())


def record_number(record: bytes) -> int:
    """Epoch and number of the record that a datagram to a device begins with."""
    return int.from_bytes(record[3:11], "big")


def numbers(datagrams: list[bytes]) -> list[int]:
    """Epoch and number of every protected record in datagrams to a device (of epoch 1: the only one)."""
    found = []
    for datagram in datagrams:
        at = 0
        while at < len(datagram):
            size = HEADER + int.from_bytes(datagram[at + 11 : at + 13], "big")
            if datagram[at + 3 : at + 5] != b"\0\0":
                found.append(record_number(datagram[at:]))
            at += size
    return found


@contextmanager
def secure_peer(
    port: int, credential: Credential | Context, source: str = "127.0.0.1", *, cid: bool = True
) -> Iterator[SecurePeer]:
    """A device at a port of its own that speaks to the server at `port`; it has not shaken hands yet."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((source, 0))
    made = credential if isinstance(credential, Context) else context(credential)
    peer = SecurePeer(sock, ("127.0.0.1", port), context=made, with_cid=cid)
    try:
        yield peer
    finally:
        peer.sock.close()  # which is another one than `sock` if it has moved
