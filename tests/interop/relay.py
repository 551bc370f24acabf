"""A bad way to the daemon: a UDP relay, in a process of its own, that loses datagrams and lets some overtake.

    python -m tests.interop.relay SEED PORT...

Devices speak to 127.0.0.2, at the daemon's own port numbers, and each has a socket of its own towards the
daemon at 127.0.0.1, which so tells them apart. Ports that stay the same are what lets a Package URI lead
through the relay as well: all it takes is `[firmware] host = "127.0.0.2"`.

The fate of a datagram is settled by the seed, the device's place among the devices, the direction and the
datagram's place in that direction, and by nothing else: a run can be repeated. At SIGTERM its counters are
printed as one JSON object.
"""

import heapq
import json
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Final

FRONT: Final = "127.0.0.2"
DAEMON: Final = "127.0.0.1"
READY: Final = "relay is ready"
MAX_DATAGRAM: Final = 65535
# All devices' datagrams come to one socket; what overflows here would be lost and not counted.
RECEIVE_BUFFER: Final = 1 << 22
BURST: Final = 64


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to datagrams, by shares of 1: `lost` of them never arrive; `held` of the others wait for
    up to `held_s` seconds while those behind them go on; `late` of the others wait so long, up to `late_s`,
    that they were sent again meanwhile and arrive when nobody waits for them any more.
    """

    seed: int = 1
    lost: float = 0.05
    held: float = 0.10
    held_s: float = 0.05
    late: float = 0.005
    late_s: float = 4.0


@dataclass(slots=True)
class Counts:
    """Datagrams so far, of both directions; one that was `overtaken` came behind a later one of its way."""

    devices: int = 0
    passed: int = 0
    lost: int = 0
    held: int = 0
    late: int = 0
    overtaken: int = 0
    refused: int = 0  # the daemon was not there


Deliver = Callable[[bytes], None]


class Course:
    """One direction of one device; `name` tells it from all others."""

    __slots__ = ("_chance", "_deliver", "delivered", "taken")

    def __init__(self, name: str, weather: Weather, deliver: Deliver) -> None:
        self._chance = Random(f"{weather.seed} {name}")
        self._deliver = deliver
        self.taken = 0
        self.delivered = 0  # the number of the latest that has arrived

    def fate(self, weather: Weather) -> float | None:
        """For how many seconds the next datagram is held back; None where it is lost."""
        self.taken += 1
        # As many draws for each, whatever becomes of it: so one share can be changed alone.
        lost, held, late, wait = (self._chance.random() for _ in range(4))
        if lost < weather.lost:
            return None
        if late < weather.late:
            return weather.held_s + wait * (weather.late_s - weather.held_s)
        return wait * weather.held_s if held < weather.held else 0.0

    def arrive(self, number: int, data: bytes) -> bool:
        """Deliver a datagram; whether one behind it was faster."""
        overtaken = number < self.delivered
        self.delivered = max(number, self.delivered)
        self._deliver(data)
        return overtaken


class Sky:
    """Decides, and holds back what is held back; it has no socket and no clock. `now` is in seconds."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.counts = Counts()
        self._waiting: list[tuple[float, int, Course, int, bytes]] = []
        self._order = 0

    def take(self, course: Course, data: bytes, now: float) -> None:
        """A datagram has come: it arrives at once, later, or never."""
        fate = course.fate(self.weather)
        if fate is None:
            self.counts.lost += 1
        elif fate:
            self._order += 1
            self.counts.held += fate <= self.weather.held_s
            self.counts.late += fate > self.weather.held_s
            heapq.heappush(self._waiting, (now + fate, self._order, course, course.taken, data))
        else:
            self._arrive(course, course.taken, data)

    def release(self, now: float) -> None:
        """Let arrive what has waited long enough."""
        while self._waiting and self._waiting[0][0] <= now:
            _, _, course, number, data = heapq.heappop(self._waiting)
            self._arrive(course, number, data)

    @property
    def deadline(self) -> float | None:
        """When `release` has something to do; None: not before another datagram comes."""
        return self._waiting[0][0] if self._waiting else None

    def _arrive(self, course: Course, number: int, data: bytes) -> None:
        self.counts.passed += 1
        self.counts.overtaken += course.arrive(number, data)


class Relay:
    """The sockets: one in front for each port, and behind it one for each device."""

    def __init__(self, ports: Sequence[int], weather: Weather) -> None:
        self.sky = Sky(weather)
        self._poll = select.epoll()
        self._front: dict[int, tuple[socket.socket, int]] = {}
        # By the place among the ports, and the device's port.
        self._out: dict[tuple[int, int], tuple[Course, socket.socket]] = {}
        self._in: dict[int, tuple[Course, socket.socket]] = {}
        self._ports = tuple(ports)
        for place, port in enumerate(ports):
            front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            front.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            front.setblocking(False)
            front.bind((FRONT, port))
            self._front[front.fileno()] = front, place
            self._poll.register(front.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Pass datagrams on, until it is interrupted."""
        while True:
            deadline = self.sky.deadline
            wait = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
            for number, _ in self._poll.poll(wait):
                if number in self._front:
                    self._outwards(*self._front[number])
                else:
                    self._inwards(*self._in[number])
            self.sky.release(time.monotonic())

    def close(self) -> None:
        for front, _ in self._front.values():
            front.close()
        for _, back in self._in.values():
            back.close()
        self._poll.close()

    def _outwards(self, front: socket.socket, place: int) -> None:
        for _ in range(BURST):
            try:
                data, device = front.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # a device is gone
            known = self._out.get((place, device[1]))
            course = self._meet(front, place, device) if known is None else known[0]
            self.sky.take(course, data, time.monotonic())

    def _inwards(self, course: Course, back: socket.socket) -> None:
        for _ in range(BURST):
            try:
                data = back.recv(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except ConnectionError:
                self.sky.counts.refused += 1
                continue
            self.sky.take(course, data, time.monotonic())

    def _meet(self, front: socket.socket, place: int, device: tuple[str, int]) -> Course:
        back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        back.setblocking(False)
        back.connect((DAEMON, self._ports[place]))
        self.sky.counts.devices += 1
        # Of what is the same in each run, which ports are not.
        name = f"{place}/{sum(at == place for at, _ in self._out)}"
        weather = self.sky.weather

        def to_daemon(data: bytes) -> None:
            try:
                back.send(data)
            except OSError:
                self.sky.counts.refused += 1

        def to_device(data: bytes) -> None:
            try:
                front.sendto(data, device)
            except OSError:
                self.sky.counts.refused += 1

        out = Course(f"{name} out", weather, to_daemon)
        self._out[place, device[1]] = out, back
        self._in[back.fileno()] = Course(f"{name} in", weather, to_device), back
        self._poll.register(back.fileno(), select.EPOLLIN)
        return out


def main(words: Sequence[str]) -> None:
    relay = Relay([int(word) for word in words[1:]], Weather(seed=int(words[0])))
    # What is started in the background of a shell finds SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    print(READY, flush=True)
    try:
        relay.run()
    except KeyboardInterrupt:
        print(json.dumps(asdict(relay.sky.counts)), flush=True)
    finally:
        relay.close()


if __name__ == "__main__":
    main(sys.argv[1:])
