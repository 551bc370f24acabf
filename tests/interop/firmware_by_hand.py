"""A device by hand that has a Firmware Update object and keeps what is written to its Package URI.

It registers, answers what the box asks, and fetches nothing: that is for programs no one here wrote. A thread
answers, over plain CoAP or by a DTLS session. LwM2M Core 1.1.1 E.6; RFC 7252.
"""

import itertools
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cbor2

from flownexus_appliance.coap.dtls.engine import Session
from tests.peer import (
    ACK,
    CHANGED,
    CON,
    CONTENT,
    CONTENT_FORMAT,
    CREATED,
    GET,
    LINKS,
    OBSERVE,
    POST,
    PUT,
    RST,
    SENML_CBOR,
    Frame,
    options,
)
from tests.secure_peer import context

from .daemon import LOOPBACK, Credential, Daemon

ANSWER_WITHIN_S = 10.0
POLL_S = 0.2
PACKAGE_URI = "/5/0/1"
NOT_FOUND = 0x84
OBJECTS = b'</>;rt="oma.lwm2m";ct=112,</1/0>,</3/0>,</5/0>'
# State, result, protocols (CoAP, CoAP over DTLS), delivery (pull).
VALUES: dict[str, int | str] = {
    "/3/0/3": "1.0.0",
    "/5/0/3": 0,
    "/5/0/5": 0,
    "/5/0/8/0": 0,
    "/5/0/8/1": 1,
    "/5/0/9": 0,
}


class FirmwareByHand:
    """One device; `uris` are those it was told to fetch from, in order."""

    def __init__(self, port: int, endpoint: str, credential: Credential | None = None) -> None:
        self.endpoint = endpoint
        self.uris: queue.Queue[str] = queue.Queue()
        self._mids = itertools.count(1)
        self._ended = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((LOOPBACK, port))
        self._socket.settimeout(ANSWER_WITHIN_S)
        self._session: Session | None = None
        if credential is not None:
            self._session = Session(context(credential))
            self._session.use_cid(b"")
        self._thread = threading.Thread(target=self._answer, name=endpoint)

    def start(self) -> None:
        """Shake hands where it has a credential, register, and answer from then on."""
        if self._session is not None:
            self._shake(self._session)
        query = ("lwm2m=1.1", f"ep={self.endpoint}", "lt=300")
        listed = options("/rd", query=query, content_format=LINKS)
        self._send(Frame(CON, POST, next(self._mids), b"rd", listed, OBJECTS))
        assert [frame.code for frame in self._receive()] == [CREATED]
        self._socket.settimeout(POLL_S)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def ticket(self, scheme: str) -> str:
        """The path of the next package it is told of, by this scheme."""
        uri = self.uris.get(timeout=ANSWER_WITHIN_S)
        assert uri.startswith(f"{scheme}://{LOOPBACK}:"), uri
        return "/" + uri.split("/", 3)[3]

    # Within

    def _shake(self, session: Session) -> None:
        done = session.advance()
        while not done:
            for data in session.take():
                self._socket.send(data)
            done = session.advance(self._socket.recv(65_536))
        for data in session.take():
            self._socket.send(data)

    def _send(self, frame: Frame) -> None:
        data = frame.encode()
        self._socket.send(data if self._session is None else self._session.seal(data))

    def _receive(self) -> list[Frame]:
        data = self._socket.recv(65_536)
        messages = [data] if self._session is None else list(self._session.open(data).messages)
        return [Frame.decode(message) for message in messages]

    def _answer(self) -> None:
        while not self._ended.is_set():
            try:
                frames = self._receive()
            except TimeoutError:
                continue
            for frame in frames:
                if frame.is_request:
                    self._send(self._answered(frame))
                elif frame.kind == CON:
                    self._send(Frame(RST, 0, frame.mid))

    def _answered(self, asked: Frame) -> Frame:
        if asked.code in (PUT, POST):
            if asked.path == PACKAGE_URI:
                self.uris.put(_written(asked))
            return Frame(ACK, CHANGED, asked.mid, asked.token)
        found = {
            path: value
            for path, value in VALUES.items()
            if path == asked.path or path.startswith(asked.path + "/")
        }
        if asked.code != GET or not found:
            return Frame(ACK, NOT_FOUND, asked.mid, asked.token)
        observe = 1 if asked.one(OBSERVE) is not None else None
        pack = cbor2.dumps(
            [{0: path, 3 if isinstance(value, str) else 2: value} for path, value in found.items()]
        )
        listed = options(content_format=SENML_CBOR, observe=observe)
        return Frame(ACK, CONTENT, asked.mid, asked.token, listed, pack)


def _written(asked: Frame) -> str:
    """The string that is written, as text or as SenML CBOR."""
    if asked.number(CONTENT_FORMAT) == SENML_CBOR:
        (record,) = cbor2.loads(asked.payload)
        return str(record[3])
    return asked.payload.decode()


@contextmanager
def firmware_by_hand(
    daemon: Daemon, endpoint: str, credential: Credential | None = None
) -> Iterator[FirmwareByHand]:
    """A device that is registered, over DTLS where it has a credential."""
    port = daemon.coap_port if credential is None else daemon.coaps_port
    device = FirmwareByHand(port, endpoint, credential)
    try:
        device.start()
        yield device
    finally:
        device.end()
