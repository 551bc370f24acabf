"""A server that updates the firmware of a simulated device: it writes packages, or has them in a depot."""

from collections.abc import Callable
from dataclasses import replace

from flownexus_appliance.lwm2m.firmware import DeliveryMethod, DeviceState, UpdateResult
from flownexus_appliance.sim.download import Ended
from flownexus_appliance.sim.firmware_options import FirmwareOptions, Outcome
from flownexus_appliance.sim.messages import Block, Code, Message, Type, decode_message, encode_message
from flownexus_appliance.sim.options import SimOptions
from flownexus_appliance.sim.package import make_package

from .peer import Peer, segments
from .secure_peer import SECURE, SecurePeer, Server

# A day between samples, where only what a test does shall happen.
CALM = SimOptions(sample_period_s=86_400.0)
PACKAGE = make_package("2.0.0", 5000)
URI = "coap://192.0.2.9:5700/fw/abcdef"


class Depot:
    """Hands out a package by Block2, in blocks of at most `exponent`; `asked` are the requests."""

    def __init__(self, package: bytes = PACKAGE) -> None:
        self.package = package
        self.exponent = 6
        self.etag: bytes | None = b"one"
        self.tells_size = True
        self.code = Code.CONTENT
        self.asked: list[Message] = []
        self.lose: set[int] = set()  # which requests are lost, from 0
        self.deaf: list[bytes] | None = None  # what comes is put here, and not answered
        self.before: Callable[[int], None] | None = None  # is told which request it is about to answer

    def answer(self, data: bytes) -> list[bytes]:
        if self.deaf is not None:
            self.deaf.append(data)
            return []
        request = decode_message(data)
        self.asked.append(request)
        number = len(self.asked) - 1
        if number in self.lose:
            return []
        if self.before is not None:
            self.before(number)
        reply = Message(self.code, type=Type.ACK, message_id=request.message_id, token=request.token)
        if self.code == Code.CONTENT:
            asked = request.block2 or Block(0, False, self.exponent)
            exponent = min(asked.exponent, self.exponent)
            offset = asked.number << (asked.exponent + 4)
            size = 1 << (exponent + 4)
            reply.payload = self.package[offset : offset + size]
            reply.block2 = Block(offset // size, offset + size < len(self.package), exponent)
            reply.etag = self.etag
            reply.size2 = len(self.package) if self.tells_size and offset == 0 else None
        return [encode_message(reply)]


class DepotLine:
    """The device's second socket, with the depot at its other end."""

    def __init__(self, peer: "FirmwarePeer", receive: Callable[[bytes, float], None]) -> None:
        self._peer = peer
        self.receive = receive
        self.open = True

    def transmit(self, data: bytes) -> None:
        assert self.open
        self._peer.under_way += [(self, answer) for answer in self._peer.at_depot(data)]

    def close(self) -> None:
        assert self.open
        self.open = False


class FirmwarePeer(Peer):
    """`lines` are the sockets that the device has opened, `moves` how often it went on from a new port."""

    def __init__(self, firmware: FirmwareOptions | None = None, options: SimOptions = CALM) -> None:
        self.depot = Depot()
        self.lines: list[DepotLine] = []
        self.places: list[tuple[str, int]] = []
        self.under_way: list[tuple[DepotLine, bytes]] = []
        self.jobs: list[tuple[Callable[[], UpdateResult | None], Ended]] = []
        self.moves = 0
        self.unknown = 0  # how often the address of the depot is not known
        super().__init__(replace(options, firmware=firmware or FirmwareOptions()))

    # The network

    def connect(self, host: str, port: int) -> bool:
        self.moves += 1
        return True

    def open_line(self, host: str, port: int, receive: Callable[[bytes, float], None]) -> DepotLine | None:
        if self.unknown:
            self.unknown -= 1
            return None
        self.places.append((host, port))
        self.lines.append(DepotLine(self, receive))
        return self.lines[-1]

    def beside(self, work: Callable[[], UpdateResult | None], done: Ended) -> None:
        self.jobs.append((work, done))

    def at_depot(self, data: bytes) -> list[bytes]:
        return self.depot.answer(data)

    def be_friendly(self) -> None:
        super().be_friendly()
        while self.under_way:
            line, data = self.under_way.pop(0)
            if line.open:
                line.receive(data, self.now)

    # What the device says of itself

    def number(self, path: str) -> int:
        value = self.read(self.get(path), path)[path]
        assert isinstance(value, int)
        return value

    def text(self, path: str) -> str:
        value = self.read(self.get(path), path)[path]
        assert isinstance(value, str)
        return value

    def standing(self, instance: str = "/5/0") -> tuple[DeviceState, UpdateResult]:
        return DeviceState(self.number(f"{instance}/3")), UpdateResult(self.number(f"{instance}/5"))

    # What the server does

    def offer(self, uri: str = URI, instance: str = "/5/0") -> None:
        """Write the Package URI, and let the device fetch as far as it gets at once."""
        assert self.write(f"{instance}/1", uri) == Code.CHANGED
        self.advance(0.0)

    def push_block(self, number: int, size: int = 512, package: bytes = PACKAGE, **more: object) -> Message:
        exponent = Block.exponent_for(size)
        part = package[number * size : (number + 1) * size]
        block = Block(number, (number + 1) * size < len(package), exponent)
        request = Message(Code.PUT, part, path=("5", "0", "0"), content_format=42, block1=block)
        request.size1 = len(package) if number == 0 and more.get("sized", True) else None
        request.path = segments(str(more.get("path", "/5/0/0")))
        return self.request(request)

    def push(self, package: bytes = PACKAGE, size: int = 512, path: str = "/5/0/0") -> Message:
        """Write a package block by block until the device has it, or does not want it."""
        count = -(-len(package) // size)
        for number in range(count):
            reply = self.push_block(number, size, package, path=path)
            if reply.code != Code.CONTINUE:
                return reply
        raise AssertionError("the device wants more than there is")

    def update(self, instance: str = "/5/0", arguments: str = "") -> Code:
        return self.execute(f"{instance}/2", arguments)


class SecureFirmwarePeer(SecurePeer):
    """The same with DTLS on both sockets of the device, each with sessions of its own."""

    def __init__(self, options: SimOptions = SECURE) -> None:
        self.depot = Depot()
        self.gate = Server()  # in front of the depot
        self.lines: list[DepotLine] = []
        self.under_way: list[tuple[DepotLine, bytes]] = []
        super().__init__(replace(options, sample_period_s=86_400.0))

    def open_line(self, host: str, port: int, receive: Callable[[bytes, float], None]) -> DepotLine:
        self.lines.append(DepotLine(self, receive))  # type: ignore[arg-type]
        return self.lines[-1]

    def at_depot(self, data: bytes) -> list[bytes]:
        answers, messages, session = self.gate.datagram(f"line {len(self.lines)}".encode(), data)
        for message in messages:
            assert session is not None
            answers += [session.seal(answer) for answer in self.depot.answer(message)]
        return answers

    def be_friendly(self) -> None:
        super().be_friendly()
        while self.under_way:
            line, data = self.under_way.pop(0)
            if line.open:
                line.receive(data, self.now)


def updatable(firmware: FirmwareOptions | None = None, options: SimOptions = CALM) -> FirmwarePeer:
    """A device that has registered."""
    peer = FirmwarePeer(firmware, options)
    peer.boot()
    return peer


def with_outcome(outcome: Outcome, method: DeliveryMethod = DeliveryMethod.BOTH) -> FirmwarePeer:
    return updatable(FirmwareOptions(outcome={0: outcome}, method=method))
