"""Nothing of what strangers send stays: no stranger may fill the memory."""

from contextlib import ExitStack

from aiocoap import ContentFormat
from aiocoap.numbers.optionnumbers import OptionNumber

from flownexus_appliance.coap.messages import MAX_PENDING
from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.fleet.ports import Verdict
from flownexus_appliance.lwm2m.effects import Reply, Success
from tests.peer import (
    ACK,
    CONTENT_FORMAT,
    GET,
    NON,
    POST,
    RST,
    URI_PATH,
    Block,
    DevicePeer,
    Frame,
    device,
    uint,
)

from .conftest import ScriptedUplinks


async def test_numbers_without_a_name_are_forgotten(server: CoapServer, peer: DevicePeer) -> None:
    """aiocoap keeps every option and format number it has ever seen, of any length."""
    before = len(OptionNumber._value2member_map_), len(ContentFormat._value2member_map_)
    for number in range(300):
        listed = ((URI_PATH, b"nowhere"), (CONTENT_FORMAT, uint(2**40 + number)), (40_000 + 2 * number, b""))
        peer.send(Frame(NON, POST, number, b"", listed))
        assert (await peer.receive()).status == "4.04"
    assert (len(OptionNumber._value2member_map_), len(ContentFormat._value2member_map_)) == before


async def test_acknowledgements_and_resets_that_fit_nothing_leave_nothing(
    server: CoapServer, peer: DevicePeer
) -> None:
    for mid in range(300):
        peer.send(Frame(ACK, GET, mid))
        peer.send(Frame(RST, POST, mid, b"t"))
        peer.send(Frame(ACK, 0x45, mid, b"t"))
        peer.send(Frame(ACK, 0, mid))
    await peer.silent()
    messages = server._messages
    assert messages._recent_messages == {}
    assert messages._active_exchanges == {}
    assert messages._backlogs == {}
    assert messages.token_manager.outgoing_requests == {}
    assert messages.token_manager.incoming_requests == {}


async def test_a_peer_has_a_bounded_number_of_requests_under_way(
    server: CoapServer, peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    """While the disk is slow they gather; each costs time by how many there are."""
    for mid in range(MAX_PENDING + 50):
        peer.send(Frame(NON, POST, mid, b"", ((URI_PATH, b"dp"),)))
        if mid % 50 == 0:
            await peer.silent()  # what was sent is taken
    await peer.silent()
    assert uplinks.requests.qsize() == MAX_PENDING
    while not uplinks.requests.empty():
        _, respond = uplinks.requests.get_nowait()
        respond(None)
    peer.send(Frame(NON, POST, MAX_PENDING + 10, b"", ((URI_PATH, b"dp"),)))
    assert (await uplinks.request())[0].message_id == MAX_PENDING + 10


async def test_a_peer_keeps_a_few_answers(
    server: CoapServer, peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    for mid in range(100):
        uplinks.outcomes.append(Reply(Success.CHANGED) if mid % 2 else None)
        request = peer.request(POST, "/dp", mid=mid)
        if mid % 2:
            await peer.reply(request)
    await peer.silent()
    known = server._transport.peer(peer.address)
    assert len(known.replies) == 4
    assert known.pending == ()


async def test_judged_notifications_are_forgotten(
    server: CoapServer, peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    for number in range(30):
        peer.notify(b"observed", number, kind=NON)
        _, judge = await uplinks.notification()
        judge((Verdict.TAKEN, Verdict.SILENT)[number % 2])
    assert server._messages._unacknowledged == set()


async def test_unfinished_bodies_of_many_peers_are_bounded(server: CoapServer) -> None:
    with ExitStack() as stack:  # all open at once: a closed one's port may be given to the next
        for _ in range(50):
            peer = stack.enter_context(device(server.port))
            await peer.reply(peer.request(POST, "/dp", b"x" * 1024, block1=Block(0, True, 6)))
    assert len(server._bodies) == 50
    assert server._bodies._bytes == 50 * 1024
