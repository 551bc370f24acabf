"""Whatever comes over the wire, a device answers or drops it, and goes on."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.lwm2m.firmware import DeviceState
from flownexus_appliance.sim.firmware_options import FirmwareOptions, Outcome
from flownexus_appliance.sim.lifecycle import State
from flownexus_appliance.sim.messages import Block, Code, Message, Type
from flownexus_appliance.sim.options import SimOptions

from .firmware_peer import PACKAGE, updatable
from .peer import booted

# Time passes quickly here: no more samples and updates than it takes.
CALM = SimOptions(sample_period_s=20_000, lifetime_s=80_000)

PATHS = st.one_of(
    st.lists(
        st.sampled_from(["0", "1", "3", "5", "19", "3303", "8", "7", "14", "5700", "x", ""]), max_size=5
    ),
    st.just(["rd"]),
)
BLOCKS = st.none() | st.builds(Block, st.integers(0, 20), st.booleans(), st.integers(0, 6))
REQUESTS = st.builds(
    Message,
    code=st.sampled_from([Code.GET, Code.POST, Code.PUT, Code.DELETE, Code.FETCH, Code.IPATCH, 31]),
    payload=st.binary(max_size=64),
    type=st.sampled_from([Type.CON, Type.NON]),
    token=st.binary(max_size=8),
    path=PATHS.map(tuple),
    query=st.lists(st.sampled_from(["pmin=1", "pmax=0", "gt=1", "st=-1", "x", ""]), max_size=3).map(tuple),
    observe=st.none() | st.integers(0, 2),
    content_format=st.none() | st.sampled_from([0, 40, 42, 60, 110, 112, 11542, 11543, 11544, 9]),
    accept=st.none() | st.sampled_from([0, 40, 42, 60, 110, 112, 11542, 11543, 11544, 9]),
    block1=BLOCKS,
    block2=BLOCKS,
)


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_any_bytes(datagrams: list[bytes]) -> None:
    peer = booted(CALM)
    for data in datagrams:
        peer.device.receive(data, peer.now)
        peer.take()
    peer.advance(100_000)
    assert peer.is_in(State.REGISTERED)


@given(st.lists(REQUESTS, max_size=20))
def test_any_requests(requests: list[Message]) -> None:
    peer = booted(CALM)
    for number, request in enumerate(requests):
        request.message_id = number  # one used again would be a duplicate
        before = len(peer.heard)
        peer.say(request)
        assert len(peer.heard) > before or not peer.device.registration.known
    peer.advance(200_000)  # a day of Disable included
    assert peer.is_in(State.REGISTERED)


URIS = (
    "coap://192.0.2.9/fw/x",
    "",
    "coaps://192.0.2.9/x",
    "ftp://x/y",
    "not a uri",
    "coap://[",
    "coap://h:0/",
)
PIECES = (b"", b"\0", b"version=2.0.0\n", b"version=2.0.0\n?", b"x" * 16, PACKAGE[:16], PACKAGE[16:32])
INSTANCES = (("5", "0"), ("33629", "0"), ("33629", "1"), ("33629", "2"))
URI_WRITES = st.builds(
    lambda uri, at: Message(Code.PUT, uri.encode(), path=(*at, "1"), content_format=0),
    st.sampled_from(URIS),
    st.sampled_from(INSTANCES),
)
PACKAGE_WRITES = st.builds(
    lambda code, piece, at, block, size: Message(
        code, piece, path=(*at, "0"), content_format=42, block1=block, size1=size
    ),
    st.sampled_from([Code.PUT, Code.POST]),
    st.sampled_from(PIECES),
    st.sampled_from(INSTANCES),
    st.none() | st.builds(Block, st.integers(0, 3), st.booleans(), st.integers(0, 1)),
    st.none() | st.sampled_from([0, 16, 1 << 30]),
)
EXECUTES = st.builds(
    lambda arguments, at: Message(Code.POST, arguments, path=at),
    st.sampled_from([b"", b"0", b"0='</33629/1>'", b"0='</33629/0>,</33629/2>'", b"0='x'"]),
    st.sampled_from([*((*at, r) for at in INSTANCES for r in ("2", "10")), ("3", "0", "4"), ("3", "0", "5")]),
)


@given(
    st.lists(URI_WRITES | PACKAGE_WRITES | EXECUTES | st.sampled_from([0.0, 2.0, 5.0, 200.0]), max_size=30),
    st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.GONE]),
    st.booleans(),
)
def test_any_updates(steps: list[Message | float], outcome: Outcome, persistent: bool) -> None:
    firmware = FirmwareOptions(objects=(5, 33629), outcome={0: outcome}, persistent=persistent)
    peer = updatable(firmware, replace(CALM, lwm2m_version="1.2"))
    peer.depot.lose = {1, 2, 7}
    for number, step in enumerate(steps):
        if isinstance(step, float):
            peer.advance(step)
            continue
        step.message_id = number
        peer.say(step)
    peer.advance(1000.0)
    assert peer.is_in(State.REGISTERED)
    for instance in ("/5/0", "/33629/0", "/33629/1"):
        state, _ = peer.standing(instance)
        assert state is not DeviceState.UPDATING
        assert state is not DeviceState.DOWNLOADING or outcome is Outcome.STALL
        assert bool(peer.text(f"{instance}/7")) is (state is DeviceState.DOWNLOADED)
    assert not any(line.open for line in peer.lines)
