"""A LwM2M server joined to a simulated device in one thread, on a clock of its own."""

from collections.abc import Callable
from random import Random

from flownexus_appliance.lwm2m.codecs import decode, encode, encode_paths
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.firmware import UpdateResult
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import Record, Value
from flownexus_appliance.sim.channel import Sessions
from flownexus_appliance.sim.device import Device
from flownexus_appliance.sim.download import Ended, Line
from flownexus_appliance.sim.lifecycle import State
from flownexus_appliance.sim.messages import Code, Message, Type, decode_message, encode_message
from flownexus_appliance.sim.options import SimOptions
from flownexus_appliance.sim.statistics import Statistics

WALL_OFFSET_S = 1_750_000_000.0
LOCATION = ("rd", "abcdefghij")
SENML = ContentFormat.SENML_CBOR


class Peer:
    """The server's side of one device, and the time both live in.

    While `friendly`, everything confirmable the device says is answered well at once. All it says
    is kept in `heard`, its replies to requests excepted: those `request` returns.
    """

    def __init__(
        self, options: SimOptions | None = None, index: int = 0, sessions: Sessions | None = None
    ) -> None:
        self.options = options or SimOptions()
        self.statistics = Statistics()
        self.now = 1000.0
        self.friendly = True
        self.heard: list[Message] = []
        self._unanswered: list[Message] = []
        self._message_id = 0
        self.device = Device(
            self.options,
            index,
            self,
            self.statistics,
            sessions=sessions or Sessions(self.options.dtls),
            entropy=Random(7),
            wall_offset_s=WALL_OFFSET_S,
        )

    # The network between them

    def connect(self, host: str, port: int) -> bool:
        raise AssertionError("nobody sends the device anywhere else")

    def open_line(self, host: str, port: int, receive: Callable[[bytes, float], None]) -> Line | None:
        raise AssertionError("there is nothing to fetch")

    def beside(self, work: Callable[[], UpdateResult | None], done: Ended) -> None:
        raise AssertionError("there is nothing to fetch")

    def transmit(self, data: bytes) -> None:
        self._hear(data)

    def _hear(self, data: bytes) -> None:
        message = decode_message(data)
        self.heard.append(message)
        if message.type is Type.CON:
            self._unanswered.append(message)

    def take(self) -> list[Message]:
        """What the device has said since the last call, in order."""
        heard, self.heard = self.heard, []
        return heard

    def take_one(self) -> Message:
        (message,) = self.take()
        return message

    def take_first(self) -> Message:
        """The one message the device has said, however often it sent it."""
        first, *repeated = self.take()
        assert all(message == first for message in repeated)
        return first

    def is_in(self, state: State) -> bool:
        return self.device.state is state

    # What the server says

    def say(self, message: Message) -> None:
        self.device.receive(encode_message(message), self.now)
        self.be_friendly()

    def acknowledge(self, message: Message) -> None:
        self.say(Message(Code.EMPTY, type=Type.ACK, message_id=message.message_id))

    def reject(self, message: Message) -> None:
        self.say(Message(Code.EMPTY, type=Type.RST, message_id=message.message_id))

    def answer(self, message: Message, code: Code, location: tuple[str, ...] = ()) -> None:
        """A piggybacked response."""
        answer = Message(code, type=Type.ACK, message_id=message.message_id, token=message.token)
        answer.location = location
        self.say(answer)

    def request(self, message: Message, token: bytes = b"question") -> Message:
        """A confirmable request of the server, and the device's reply to it."""
        self._message_id += 1
        message.message_id = self._message_id
        message.token = token
        before = len(self.heard)
        self.say(message)
        reply = self.heard.pop(before)
        assert (reply.type, reply.message_id, reply.token) == (Type.ACK, message.message_id, token)
        return reply

    def get(self, path: str, accept: ContentFormat | None = SENML, **options: int) -> Message:
        message = Message(Code.GET, path=segments(path), accept=accept)
        message.observe = options.get("observe")
        return self.request(message)

    def observe(self, path: str, token: bytes, accept: ContentFormat = SENML) -> Message:
        return self.request(Message(Code.GET, path=segments(path), accept=accept, observe=0), token)

    def discover(self, path: str) -> str:
        return self.get(path, ContentFormat.LINK).payload.decode()

    def attributes(self, path: str, *query: str) -> Code:
        return Code(self.request(Message(Code.PUT, path=segments(path), query=query)).code)

    def execute(self, path: str, arguments: str = "") -> Code:
        request = Message(Code.POST, arguments.encode(), path=segments(path))
        return Code(self.request(request).code)

    def put(self, path: str, payload: bytes, content_format: int) -> Code:
        request = Message(Code.PUT, payload, path=segments(path), content_format=content_format)
        return Code(self.request(request).code)

    def write(self, path: str, value: Value, method: Code = Code.PUT) -> Code:
        """Write one resource or resource instance as SenML CBOR."""
        at = Path.parse(path)
        data_type = self.device.profile.tree.type_of(at)
        assert data_type is not None
        payload = encode(SENML, (Record(at, value, data_type),), base=at)
        request = Message(method, payload, path=segments(path), content_format=SENML)
        return Code(self.request(request).code)

    def fetch(self, *paths: str, observe: int | None = None, token: bytes = b"question") -> Message:
        payload = encode_paths(SENML, [Path.parse(path) for path in paths])
        request = Message(Code.FETCH, payload, content_format=SENML, accept=SENML, observe=observe)
        return self.request(request, token)

    def read(self, message: Message, base: str = "/") -> dict[str, Value]:
        """The values in a message of the device, by path."""
        return {str(record.path): record.value for record in self.records(message, base)}

    def records(self, message: Message, base: str = "/") -> tuple[Record, ...]:
        assert message.content_format is not None
        return decode(
            message.content_format,
            message.payload,
            base=Path.parse(base),
            types=self.device.profile.tree.type_of,
            now_ms=self.wall_ms,
        )

    # Time

    @property
    def wall_ms(self) -> int:
        return int((self.now + WALL_OFFSET_S) * 1000)

    def advance(self, seconds: float) -> None:
        """Let time pass: the device's timer is called when it wants to be, and never else."""
        end = self.now + seconds
        calls = 0
        while self.device.deadline <= end:
            self.now = max(self.now, self.device.deadline)
            self.device.handle_timer(self.now)
            self.be_friendly()
            calls += 1
            assert calls < 100_000, "the timer never comes to rest"
        self.now = end

    def boot(self) -> None:
        """Start the device and let it register, whatever it says until then forgotten."""
        self.device.start(self.now)
        self.advance(0.0)
        assert self.device.state is State.REGISTERED
        self.heard.clear()

    def be_friendly(self) -> None:
        while self.friendly and self._unanswered:
            message = self._unanswered.pop(0)
            if not message.is_request:
                self.acknowledge(message)
            elif message.code == Code.DELETE:
                self.answer(message, Code.DELETED)
            elif message.path == ("rd",):
                self.answer(message, Code.CREATED, LOCATION)
            else:
                self.answer(message, Code.CHANGED)


def booted(options: SimOptions | None = None, index: int = 0) -> Peer:
    """A device that has registered."""
    peer = Peer(options, index)
    peer.boot()
    return peer


def segments(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)
