"""Whatever of a package is asked for: the answer is that piece of it, or says that there is none.

And whatever a device answers: what it is given is the file, whole and in order, from wherever it begins.
"""

from dataclasses import dataclass, field
from typing import Any

from aiocoap import Code, Message
from aiocoap.optiontypes import BlockOption
from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.coap.downlink import RESTARTS, Requester
from flownexus_appliance.coap.packages import serve
from flownexus_appliance.coap.peers import Peer
from flownexus_appliance.errors import PeerError
from flownexus_appliance.fleet.ports import Downlink, Method, Sender
from flownexus_appliance.lwm2m.paths import Path
from tests.peer import ACCEPT, BLOCK2, CON, ETAG, GET, SIZE2, Block, Frame, options

numbers = st.integers(0, 40) | st.integers(0, 2**20 - 1)
sizes = st.sampled_from([1, 15, 16, 17, 511, 512, 513, 1024, 2048]) | st.integers(1, 3000)
limits = st.sampled_from([512, 1024, 1152])


@dataclass(slots=True)
class File:
    """A package, and what was told of it."""

    data: bytes
    told: list[int] = field(default_factory=list)
    etag: bytes = b"8 bytes."

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        assert 0 < size <= 1024
        assert 0 <= offset < self.size
        return self.data[offset : offset + size]

    def fetched(self, until: int) -> None:
        self.told.append(until)

    def open(self, ticket: str, sender: Sender | None) -> "File":
        assert ticket == "ticket"
        return self


class Somebody(Peer):
    """A peer whose messages have at most so many bytes."""

    __slots__ = ("limit",)

    scheme = "coap"
    sender = Sender("192.0.2.1:5683", "192.0.2.1:5683")

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    @property
    def max_message(self) -> int:
        return self.limit


def file_of(size: int) -> File:
    return File(bytes(n * 31 % 251 for n in range(size)))


def answer(file: File, frame: Frame, limit: int = 1152) -> Frame | None:
    """The answer as it goes out; None where it is an error of the device."""
    request = Message.decode(frame.encode(), remote=Somebody(limit))
    try:
        response = serve(file, request, "ticket")
    except PeerError:
        return None
    response.mtype, response.mid, response.token = 2, request.mid, request.token
    return Frame.decode(response.encode())


@given(sizes, numbers, st.integers(0, 7), st.booleans(), limits)
def test_a_block(size: int, number: int, szx: int, more: bool, limit: int) -> None:
    file = file_of(size)
    asked = Frame(CON, GET, 1, b"t" * 8, options("/fw/ticket", block2=Block(number, more, szx)))
    found = answer(file, asked, limit)
    start = number << szx + 4
    assert (found is not None) == (szx < 7 and start < size)
    if found is None:
        assert file.told == []
        return
    block = found.block(BLOCK2)
    assert block is not None
    assert block.szx <= szx
    assert block.number * block.size == start
    assert found.payload == file.data[start : start + block.size]
    assert block.more == (start + block.size < size)
    assert len(found.encode()) <= limit
    assert file.told == [start + len(found.payload)]


@given(
    sizes,
    st.lists(
        st.tuples(
            st.sampled_from([1, 3, 4, 5, 6, 7, 11, 12, ACCEPT, BLOCK2, SIZE2, 27, 60, 65000]), st.binary()
        )
    ),
)
def test_any_options(size: int, listed: list[tuple[int, bytes]]) -> None:
    """A part of it, "you have it", or an error: nothing else comes out."""
    file = file_of(size)
    try:
        data = Frame(CON, GET, 1, b"", options("/fw/ticket", more=tuple(listed))).encode()
        Message.decode(data)
    except (ValueError, KeyError, TypeError):
        return  # no message, as `server._decode` finds
    found = answer(file, Frame(CON, GET, 1, b"", options("/fw/ticket", more=tuple(listed))))
    if found is not None:
        assert found.status in ("2.05", "2.03")
        assert found.one(ETAG) == file.etag
        assert found.payload in file.data
    assert all(0 < until <= size for until in file.told)


@dataclass(slots=True)
class Device:
    """Answers each block by the next of its moods, and takes what it takes to be the next one."""

    moods: list[tuple[str, int]]
    body: bytes = b""
    begun: int = 0

    def take(self, message: Message) -> Message:
        block = message.opt.block1
        mood, szx = self.moods.pop(0) if self.moods else ("", 0)
        if block is None:
            self.body = message.payload
            return Message(code=Code.CHANGED)
        if block.block_number == 0:
            self.body = b""
            self.begun += 1
            assert message.opt.size1 is not None
        assert block.start == len(self.body)
        assert not block.more or len(message.payload) == block.size
        if mood in ("too large", "lost"):
            too_large = mood == "too large"
            refused = Code.REQUEST_ENTITY_TOO_LARGE if too_large else Code.REQUEST_ENTITY_INCOMPLETE
            response = Message(code=refused)
            if szx < 7 and too_large:
                response.opt.block1 = BlockOption.BlockwiseTuple(0, False, szx)
            return response
        self.body += message.payload
        response = Message(code=Code.CONTINUE if block.more and mood != "at once" else Code.CHANGED)
        smaller = min(szx, block.size_exponent) if mood == "smaller" else block.size_exponent
        response.opt.block1 = BlockOption.BlockwiseTuple(block.block_number, block.more, smaller)
        return response


moods = st.tuples(st.sampled_from(["", "smaller", "too large", "lost", "at once"]), st.integers(0, 7))


@given(sizes, st.lists(moods, max_size=8), limits)
def test_a_push(size: int, moods: list[tuple[str, int]], limit: int) -> None:
    file, device, sent = file_of(size), Device(moods), list[int]()
    requester = Requester(None)  # type: ignore[arg-type]

    async def exchange(message: Any, timeout_s: float) -> Message:
        assert len(message.payload) <= 512
        return device.take(message)

    requester._exchange = exchange  # type: ignore[method-assign]
    downlink = Downlink(Method.PUT, Path.parse("/5/0/0"), body=file, sent=sent.append)
    try:
        requester.request(Somebody(limit), downlink).send(None)
    except StopIteration as done:
        reply = done.value
    assert device.begun <= RESTARTS + 1
    if reply.success:
        assert device.body == file.data
        assert sent[-1] == size
    else:
        assert reply.code in ("4.08", "4.13")
    since = 0
    for until in sent:
        assert until == 0 or since < until <= size
        since = until
