"""Requests of devices: what is answered, when, and what is not."""

import pytest

from flownexus_appliance.errors import PeerError
from flownexus_appliance.fleet.ports import Action, Sender
from flownexus_appliance.lwm2m.effects import Reply, Success
from tests.peer import (
    ACK,
    BLOCK1,
    CON,
    CONTENT_FORMAT,
    DELETE,
    EMPTY,
    FETCH,
    GET,
    LINKS,
    NON,
    POST,
    PUT,
    REGISTER_LINKS,
    REGISTER_QUERY,
    RST,
    SENML_CBOR,
    URI_PATH,
    DevicePeer,
    Frame,
)

from .conftest import ScriptedUplinks

CREATED = Reply(Success.CREATED, ("rd", "abcdefghij"))
CHANGED = Reply(Success.CHANGED)


# The four requests


async def test_register_is_answered_with_two_location_options(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    """Zephyr takes one combined Location-Path option for a failure (zephyr #7503)."""
    uplinks.outcomes.append(CREATED)
    request = peer.register()
    reply = await peer.reply(request)
    assert reply.status == "2.01"
    assert reply.location == ("rd", "abcdefghij")
    assert reply.payload == b""
    assert len(reply.options) == 2
    uplink, _ = await uplinks.request()
    assert uplink.action is Action.REGISTER
    assert uplink.sender == Sender(peer.address, peer.address)
    assert (uplink.message_id, uplink.token) == (request.mid, request.token)
    assert uplink.query == REGISTER_QUERY
    assert uplink.content_format == LINKS
    assert uplink.payload == REGISTER_LINKS
    assert uplink.registration_id == ""


@pytest.mark.parametrize(
    ("code", "path", "action", "registration_id", "outcome", "status"),
    [
        (POST, "/rd/abc", Action.UPDATE, "abc", CHANGED, "2.04"),
        (PUT, "/rd/abc", Action.UPDATE, "abc", CHANGED, "2.04"),
        (DELETE, "/rd/abc", Action.DEREGISTER, "abc", Reply(Success.DELETED), "2.02"),
        (POST, "/dp", Action.SEND, "", CHANGED, "2.04"),
    ],
)
async def test_other_requests(
    peer: DevicePeer,
    uplinks: ScriptedUplinks,
    code: int,
    path: str,
    action: Action,
    registration_id: str,
    outcome: Reply,
    status: str,
) -> None:
    uplinks.outcomes.append(outcome)
    reply = await peer.reply(peer.request(code, path))
    assert (reply.status, reply.options, reply.payload) == (status, (), b"")
    uplink, _ = await uplinks.request()
    assert (uplink.action, uplink.registration_id) == (action, registration_id)
    assert uplink.content_format is None


async def test_a_send_keeps_its_format_and_payload(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    uplinks.outcomes.append(CHANGED)
    await peer.reply(peer.request(POST, "/dp", b"\x80", content_format=SENML_CBOR, token=b""))
    uplink, _ = await uplinks.request()
    assert (uplink.content_format, uplink.payload, uplink.token) == (SENML_CBOR, b"\x80", b"")


async def test_nothing_is_sent_before_the_answer(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    """An empty acknowledgement would stop Zephyr's retransmissions and leave it waiting 247 s."""
    request = peer.register()
    _, respond = await uplinks.request()
    await peer.silent()
    respond(CREATED)
    reply = await peer.reply(request)
    assert reply.kind == ACK
    await peer.silent()


# Duplicates (RFC 7252 4.5)


async def test_a_retransmission_while_the_answer_is_pending_is_ignored(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    request = peer.register()
    _, respond = await uplinks.request()
    peer.send(request)
    await peer.silent()
    assert uplinks.requests.empty()
    respond(CREATED)
    await peer.reply(request)
    await peer.silent()


async def test_a_retransmission_after_the_answer_gets_it_again_byte_for_byte(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    uplinks.outcomes += [CHANGED, CHANGED]
    request = peer.request(POST, "/dp", b"\x80", content_format=SENML_CBOR)
    first = await peer.datagram()
    peer.send(request)
    assert await peer.datagram() == first
    await uplinks.request()
    assert uplinks.requests.empty()


async def test_a_retransmitted_register_is_handled_anew(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    """A Zephyr simulated without a seed repeats its message ids and tokens at every boot."""
    uplinks.outcomes += [CREATED, Reply(Success.CREATED, ("rd", "klmnopqrst"))]
    request = peer.register()
    assert (await peer.reply(request)).location == ("rd", "abcdefghij")
    peer.send(request)
    assert (await peer.reply(request)).location == ("rd", "klmnopqrst")
    assert uplinks.requests.qsize() == 2


async def test_what_follows_a_repeated_register_is_handled_anew_too(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    """Its first Update after a reboot looks like the one before it, and its lifetime depends on it."""
    uplinks.outcomes += [CREATED, CHANGED, CREATED, CHANGED]
    register = peer.register()
    await peer.reply(register)
    update = peer.request(POST, "/rd/abcdefghij")
    await peer.reply(update)
    for request in (register, update):
        peer.send(request)
        await peer.reply(request)
    actions = [(await uplinks.request())[0].action for _ in range(4)]
    assert actions == [Action.REGISTER, Action.UPDATE, Action.REGISTER, Action.UPDATE]


@pytest.mark.parametrize("changed", ["payload", "token", "path"])
async def test_the_same_message_id_with_other_content_is_another_request(
    peer: DevicePeer, uplinks: ScriptedUplinks, changed: str
) -> None:
    uplinks.outcomes += [CHANGED, Reply(Success.DELETED)]
    peer.request(POST, "/rd/abc", b"</1/0>", mid=7, token=b"same")
    assert (await peer.receive()).status == "2.04"
    peer.request(
        POST,
        "/rd/xyz" if changed == "path" else "/rd/abc",
        b"</3/0>" if changed == "payload" else b"</1/0>",
        mid=7,
        token=b"else" if changed == "token" else b"same",
    )
    assert (await peer.receive()).status == "2.02"


async def test_the_same_message_id_of_another_device_is_another_request(
    peer: DevicePeer, other_peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    uplinks.outcomes += [CHANGED, CHANGED]
    for device in (peer, other_peer):
        await device.reply(device.request(POST, "/dp", mid=7, token=b"same"))
    assert {(await uplinks.request())[0].sender.address for _ in range(2)} == {
        peer.address,
        other_peer.address,
    }


async def test_after_silence_a_retransmission_is_a_new_try(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    uplinks.outcomes += [None, CREATED]
    request = peer.register()
    await uplinks.request()
    await peer.silent()
    peer.send(request)
    assert (await peer.reply(request)).status == "2.01"


async def test_an_answer_is_kept_while_others_are_pending(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    """A burst of requests must not push those that still wait out of the duplicates' memory."""
    waiting = [peer.request(POST, "/dp", mid=mid) for mid in range(8)]
    responds = [(await uplinks.request())[1] for _ in waiting]
    responds[7](CHANGED)
    await peer.reply(waiting[7])
    peer.send(waiting[0])
    await peer.silent()
    assert uplinks.requests.empty()
    for request, respond in zip(waiting[:7], responds, strict=False):
        respond(CHANGED)
        await peer.reply(request)


async def test_an_answer_is_not_repeated_after_the_exchange_lifetime(
    peer: DevicePeer, uplinks: ScriptedUplinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 7252 4.4: a message id may be used again after EXCHANGE_LIFETIME, 247 s."""
    monkeypatch.setattr("flownexus_appliance.coap.messages.EXCHANGE_LIFETIME_S", 0.0)
    uplinks.outcomes += [CHANGED, CHANGED]
    request = peer.request(POST, "/dp")
    await peer.reply(request)
    peer.send(request)
    await peer.reply(request)
    assert uplinks.requests.qsize() == 2


# Non-confirmable requests


async def test_a_non_confirmable_request_gets_a_non_confirmable_response(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    uplinks.outcomes.append(CHANGED)
    request = peer.request(POST, "/dp", kind=NON)
    reply = await peer.receive()
    assert (reply.kind, reply.status, reply.token) == (NON, "2.04", request.token)
    peer.send(request)
    again = await peer.receive()
    assert again == reply
    assert uplinks.requests.qsize() == 1


async def test_a_non_confirmable_register(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    uplinks.outcomes.append(CREATED)
    request = peer.register(kind=NON)
    reply = await peer.receive()
    assert (reply.kind, reply.token, reply.location) == (NON, request.token, ("rd", "abcdefghij"))


# What CoAP itself demands


@pytest.mark.parametrize(
    ("code", "path", "named", "status"),
    [
        (GET, "/", {}, "4.04"),
        (GET, "/.well-known/core", {}, "4.04"),
        (POST, "/bs/a", {"query": ("ep=peer",)}, "4.04"),
        (POST, "/rd/a/b", {}, "4.04"),
        (GET, "/rd", {}, "4.05"),
        (DELETE, "/rd", {}, "4.05"),
        (PUT, "/rd", {}, "4.05"),
        (GET, "/rd/abc", {}, "4.05"),
        (FETCH, "/rd/abc", {}, "4.05"),
        (GET, "/dp", {}, "4.05"),
        (GET, "/bs", {"query": ("ep=peer",)}, "4.05"),
        (POST, "/bspack", {"query": ("ep=peer",)}, "4.05"),
        (0x1F, "/dp", {}, "4.05"),
        (POST, "/rd", {"accept": 112}, "4.06"),
        (POST, "/dp", {"accept": 0}, "4.06"),
        (POST, "/bs", {"accept": 112}, "4.06"),
        (POST, "/rd", {"content_format": 112}, "4.15"),
        (POST, "/rd", {"content_format": 0}, "4.15"),
        (POST, "/rd/abc", {"content_format": 60000}, "4.15"),
        (POST, "/rd", {"more": ((65001, b"x"),)}, "4.02"),
        (POST, "/dp", {"more": ((9, b""),)}, "4.02"),
        (POST, "/rd", {"more": ((35, b"coap://x"),)}, "4.02"),
    ],
)
async def test_refusals_that_never_reach_the_fleet(
    peer: DevicePeer, uplinks: ScriptedUplinks, code: int, path: str, named: dict[str, object], status: str
) -> None:
    reply = await peer.reply(peer.request(code, path, **named))  # type: ignore[arg-type]
    assert reply.status == status
    assert reply.payload.decode()
    assert uplinks.requests.empty()


async def test_elective_options_that_nobody_knows_are_passed_over(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    uplinks.outcomes.append(CREATED)
    reply = await peer.reply(
        peer.register(more=((65000, b"x"), (60, b"\x10"), (3, b"box.local"), (7, b"\x16\x33")))
    )
    assert reply.status == "2.01"


async def test_a_content_format_of_absurd_length_is_passed_over(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    """RFC 7252 5.4.3: an option of a wrong length is one that is not recognized, and 12 is elective."""
    uplinks.outcomes.append(CREATED)
    listed = ((URI_PATH, b"rd"), (CONTENT_FORMAT, b"\xff" * 1900))
    peer.send(Frame(CON, POST, 1, b"", listed, b"</1/0>"))
    assert (await peer.receive()).status == "2.01"
    assert (await uplinks.request())[0].content_format is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PeerError("version_unsupported", "no"), "4.12"),
        (PeerError("registration_unknown", "no"), "4.04"),
        (PeerError("content_format_unsupported", "no"), "4.15"),
        (PeerError("links_invalid", "no"), "4.00"),
    ],
)
async def test_an_error_of_the_fleet_becomes_its_code(
    peer: DevicePeer, uplinks: ScriptedUplinks, error: PeerError, status: str
) -> None:
    uplinks.outcomes.append(error)
    reply = await peer.reply(peer.register())
    assert (reply.status, reply.payload, reply.location) == (status, b"no", ())


async def test_the_words_of_an_error_are_short_and_whole_characters(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    """RFC 7252 5.5.2: a diagnostic payload is UTF-8."""
    uplinks.outcomes.append(PeerError("links_invalid", "ü" * 31 + "x" + "€" * 20))
    reply = await peer.reply(peer.register())
    assert 60 < len(reply.payload) <= 64
    assert reply.payload.decode().startswith("ü" * 31)


async def test_an_error_is_answered_again_to_a_retransmission(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    uplinks.outcomes.append(PeerError("registration_unknown", "no"))
    request = peer.request(POST, "/rd/abc")
    first = await peer.datagram()
    peer.send(request)
    assert await peer.datagram() == first


# Messages that are no requests


async def test_a_ping_is_reset(peer: DevicePeer) -> None:
    peer.send(Frame(CON, EMPTY, 77))
    assert await peer.receive() == Frame(RST, EMPTY, 77)


CONFIRMABLE_GARBAGE = {
    "token length 9": "49020001" + "00" * 9,
    "token length 15": "4f020001" + "00" * 15,
    "token cut off": "4802000101020304",
    "option cut off": "40020001" + "b572",
    "option delta 15": "40020001" + "f1",
    "option length 15": "40020001" + "bf",
    "option delta cut off": "40020001" + "d0",
    "option delta of two bytes cut off": "40020001" + "e000",
    "option length cut off": "40020001" + "bd",
    "path not UTF-8": "40020001" + "b2ff80",
    "payload marker without payload": "40020001" + "b27264" + "ff",
    "empty with a token": "41000001" + "aa",
    "empty with a payload": "40000001" + "ff00",
    "reserved class 1": "40200001",
    "reserved class 6": "40c00001",
    "signalling": "40e10001",
}


@pytest.mark.parametrize("data", CONFIRMABLE_GARBAGE.values(), ids=CONFIRMABLE_GARBAGE.keys())
async def test_confirmable_garbage_is_reset(peer: DevicePeer, uplinks: ScriptedUplinks, data: str) -> None:
    """RFC 7252 4.2: a confirmable message that cannot be processed is rejected by a reset."""
    peer.send(bytes.fromhex(data))
    assert await peer.receive() == Frame(RST, EMPTY, 1)
    assert uplinks.requests.empty()


SILENT_GARBAGE = {
    "nothing": "",
    "one byte": "40",
    "three bytes": "400200",
    "version 0": "00020001",
    "version 2": "80020001" + "b27264",
    "version 3, confirmable": "c0020001",
    "non-confirmable with token length 9": "59020001" + "00" * 9,
    "non-confirmable, option cut off": "50020001" + "b572",
    "acknowledgement with token length 12": "6c450001" + "00" * 12,
    "reset with content": "70450001" + "ff01",
    "request as an acknowledgement": "60020001" + "b27264",
    "request as a reset": "70010001",
    "empty non-confirmable": "50000001",
    "non-confirmable of a reserved class": "50200001",
    "acknowledgement of nothing": "60000001",
    "reset of nothing": "70000001",
    "response to nothing, acknowledged": "60450001",
}


@pytest.mark.parametrize("data", SILENT_GARBAGE.values(), ids=SILENT_GARBAGE.keys())
async def test_other_garbage_is_passed_over(peer: DevicePeer, uplinks: ScriptedUplinks, data: str) -> None:
    peer.send(bytes.fromhex(data))
    await peer.silent()
    assert uplinks.requests.empty()
    assert uplinks.notifications.empty()


async def test_a_datagram_too_long_is_passed_over(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    peer.request(POST, "/dp", b"x" * 2048)
    await peer.silent()
    peer.request(POST, "/dp", b"x" * 60_000)
    await peer.silent()
    assert uplinks.requests.empty()


async def test_a_defect_above_leaves_the_request_unanswered_and_its_repetition_a_new_try(
    peer: DevicePeer,
    uplinks: ScriptedUplinks,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(ScriptedUplinks, "receive", broken)
        request = peer.register()
        await peer.silent()
    assert [r.getMessage() for r in caplog.records if r.exc_info] == ["datagram failed"]
    caplog.clear()
    uplinks.outcomes.append(CREATED)
    peer.send(request)
    assert (await peer.reply(request)).status == "2.01"


async def test_no_block1_option_comes_back_without_one(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    uplinks.outcomes.append(CREATED)
    assert (await peer.reply(peer.register())).one(BLOCK1) is None
