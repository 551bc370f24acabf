"""Whatever comes over the wire, a device answers or drops it, and goes on."""

from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.sim.lifecycle import State
from flownexus_appliance.sim.messages import Block, Code, Message, Type
from flownexus_appliance.sim.options import SimOptions

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
