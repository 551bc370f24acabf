"""A load generator: many devices, each its own UDP socket, one process, as cheap as Python allows.

Speaks just enough CoAP by hand (RFC 7252 section 3) that the measured server is the slower side:
Register, answers to whatever is asked, Send and confirmable notifications. Each message waits for
its acknowledgement before the device sends the next, as a device with NSTART=1 does.

    python -m benchmarks.wire PORT DEVICES SECONDS WINDOW [dtls]

With `dtls` each has a session with Connection ID, by the key of `benchmarks.credentials`. It prints
one JSON object: registered, observed, sends, notifications (acknowledged ones), seconds, and the
per-device counts of acknowledged values.
"""

import json
import os
import select
import socket
import struct
import sys
import time
from collections import Counter
from typing import Final

import cbor2

from flownexus_appliance.coap.dtls.engine import Context, Session

from .credentials import device_key, device_name

CON: Final = 0x40
ACK: Final = 0x60
POST: Final = 0x02
CREATED: Final = 0x41
CHANGED: Final = 0x44
CONTENT: Final = 0x45
NOT_FOUND: Final = 0x84
OBSERVE: Final = 6
URI_PATH: Final = 11
CONTENT_FORMAT: Final = 12
URI_QUERY: Final = 15
SENML_CBOR: Final = b"\x70"
LINKS: Final = b"</>;ct=112,</1/0>,</3303/0>"
PATIENCE_S: Final = 30.0


def option(delta: int, value: bytes) -> bytes:
    """One option whose number is `delta` above the one before it."""
    head, extended = bytearray(1), b""
    for shift, number in ((4, delta), (0, len(value))):
        if number < 13:
            head[0] |= number << shift
        else:
            head[0] |= 13 << shift
            extended += bytes([number - 13])
    return bytes(head) + extended + value


def read_options(data: bytes) -> tuple[dict[int, list[bytes]], bytes]:
    """Options by number, and the payload, of a well-formed message."""
    position, number = 4 + (data[0] & 15), 0
    options: dict[int, list[bytes]] = {}
    while position < len(data) and data[position] != 0xFF:
        delta, length = data[position] >> 4, data[position] & 15
        position += 1
        if delta == 13:
            delta, position = data[position] + 13, position + 1
        if length == 13:
            length, position = data[position] + 13, position + 1
        number += delta
        options.setdefault(number, []).append(data[position : position + length])
        position += length
    return options, data[position + 1 :]


class Device:
    """One device: a connected socket, its observation's token, what it has been acknowledged.

    Over DTLS its session is never asleep: it is the server that is measured.
    """

    def __init__(self, number: int, port: int, secure: bool) -> None:
        self.name = device_name(number)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setblocking(False)
        self.message_id = number * 7 & 0xFFFF
        self.token = b""
        self.sequence = 1
        self.registered = False
        self.values = 0
        self.session: Session | None = None
        if secure:
            key = device_name(number).encode(), device_key(number)
            self.session = Session(Context(client=True, psk=key, cid_bytes=0))
            self.session.use_cid(b"")

    def shake_hands(self, reply: bytes | None = None) -> bool:
        """Begin or go on with the handshake; True when it is complete."""
        assert self.session is not None
        done = self.session.advance(reply)
        for datagram in self.session.take():
            self.sock.send(datagram)
        return done

    def say(self, message: bytes) -> None:
        self.sock.send(message if self.session is None else self.session.seal(message))

    def hear(self) -> tuple[bytes, ...]:
        data = self.sock.recv(2048)
        return (data,) if self.session is None else self.session.open(data).messages

    def next_id(self) -> int:
        self.message_id = self.message_id + 1 & 0xFFFF
        return self.message_id

    def header(self, code: int, token: bytes) -> bytes:
        return struct.pack("!BBH", CON | len(token), code, self.next_id()) + token

    def register(self) -> None:
        query = (b"lwm2m=1.1", f"ep={self.name}".encode(), b"lt=86400")
        self.say(
            self.header(POST, os.urandom(8))
            + option(URI_PATH, b"rd")
            + option(CONTENT_FORMAT - URI_PATH, b"\x28")
            + option(URI_QUERY - CONTENT_FORMAT, query[0])
            + b"".join(option(0, q) for q in query[1:])
            + b"\xff"
            + LINKS
        )

    def reading(self) -> bytes:
        value = 20 + (self.message_id % 997) / 64
        return bytes(cbor2.dumps([{-2: "/3303/0/", 0: "5700", 2: value}]))

    def send(self) -> None:
        path = option(URI_PATH, b"dp") + option(CONTENT_FORMAT - URI_PATH, SENML_CBOR)
        self.say(self.header(POST, os.urandom(8)) + path + b"\xff" + self.reading())

    def notify(self) -> None:
        self.sequence += 1
        number = self.sequence.to_bytes(3, "big").lstrip(b"\0")
        options = option(OBSERVE, number) + option(CONTENT_FORMAT - OBSERVE, SENML_CBOR)
        self.say(self.header(CONTENT, self.token) + options + b"\xff" + self.reading())

    def answer(self, request: bytes) -> bool:
        """Answer a request of the server; True when it was an Observe of the reading."""
        options, _ = read_options(request)
        path = b"/".join(options.get(URI_PATH, []))
        token = request[4 : 4 + (request[0] & 15)]
        head = bytes([ACK | len(token)])
        if path != b"3303/0/5700":
            self.say(head + bytes([NOT_FOUND]) + request[2:4] + token)
            return False
        observed = OBSERVE in options
        if observed:
            self.token = token
        extra = option(OBSERVE, b"\1") if observed else b""
        extra += option(CONTENT_FORMAT - (OBSERVE if observed else 0), SENML_CBOR)
        reading = b"\xff" + self.reading()
        self.say(head + bytes([CONTENT]) + request[2:4] + token + extra + reading)
        return observed


class Load:
    """Drives the devices by one epoll."""

    def __init__(self, port: int, count: int, secure: bool = False) -> None:
        self.poll = select.epoll()
        self.devices = [Device(n, port, secure) for n in range(count)]
        self.by_fd = {d.sock.fileno(): d for d in self.devices}
        for fd in self.by_fd:
            self.poll.register(fd, select.EPOLLIN)
        self.observed = 0

    def shake_hands(self, window: int = 32) -> None:
        """A handshake of each device, a few at a time."""
        waiting = list(reversed(self.devices))
        under_way = 0
        deadline = time.monotonic() + PATIENCE_S
        while waiting or under_way:
            while waiting and under_way < window:
                waiting.pop().shake_hands()
                under_way += 1
            for fd, _ in self.poll.poll(1):
                device = self.by_fd[fd]
                under_way -= device.shake_hands(device.sock.recv(4096))
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(waiting) + under_way} handshakes were not made")

    def prepare(self, window: int = 32) -> None:
        """Register all, and wait until the server observes each; a few at a time."""
        waiting = list(reversed(self.devices))
        under_way: set[Device] = set()
        deadline = time.monotonic() + PATIENCE_S
        while waiting or under_way:
            while waiting and len(under_way) < window:
                device = waiting.pop()
                under_way.add(device)
                device.register()
            for fd, _ in self.poll.poll(1):
                device = self.by_fd[fd]
                for data in device.hear():
                    if data[1] == CREATED:
                        device.registered = True
                    elif 0 < data[1] < 32 and device.answer(data):
                        self.observed += 1
                        under_way.discard(device)
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(waiting) + len(under_way)} devices were not observed")

    def drain(self, seconds: float) -> None:
        """Answer what the server still asks."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for fd, _ in self.poll.poll(left):
                for data in self.by_fd[fd].hear():
                    if 0 < data[1] < 32:
                        self.by_fd[fd].answer(data)

    def run(self, seconds: float, window: int) -> dict[str, float]:
        """Send and notify in turn with `window` devices awaiting an acknowledgement at any time."""
        counts: Counter[str] = Counter()
        turn = 0

        def start() -> None:
            nonlocal turn
            device = self.devices[turn % len(self.devices)]
            # The two kinds take turns from round to round, each device does both.
            if (turn // len(self.devices) + turn) % 2:
                device.send()
            else:
                device.notify()
            turn += 1

        began = time.monotonic()
        for _ in range(window):
            start()
        while time.monotonic() < began + seconds:
            for fd, _ in self.poll.poll(1):
                device = self.by_fd[fd]
                (data,) = device.hear()
                if data[0] >> 4 == ACK >> 4 and data[1] in (0, CHANGED):
                    counts["notifications" if data[1] == 0 else "sends"] += 1
                    device.values += 1
                elif 0 < data[1] < 32:
                    device.answer(data)
                    continue
                else:
                    counts["refused"] += 1
                start()
        return {**counts, "seconds": time.monotonic() - began}


def main() -> None:
    port, count, seconds, window = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    secure = sys.argv[5:] == ["dtls"]
    load = Load(port, count, secure)
    if secure:
        load.shake_hands()
    load.prepare()
    load.drain(1.0)
    result: dict[str, object] = dict(load.run(seconds, min(window, count)))
    result["registered"] = sum(d.registered for d in load.devices)
    result["observed"] = load.observed
    result["values"] = {d.name: d.values for d in load.devices}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
