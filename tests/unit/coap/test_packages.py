"""Firmware packages that devices fetch: `GET /fw/<ticket>` (RFC 7959 2.4, RFC 7252 5.10.6)."""

import logging

import pytest

from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.fleet.ports import PackageGone
from tests.peer import (
    ACCEPT,
    ACK,
    BLOCK2,
    CON,
    CONTENT_FORMAT,
    DELETE,
    ETAG,
    FETCH,
    GET,
    NON,
    POST,
    PUT,
    SIZE2,
    Block,
    DevicePeer,
    Frame,
    options,
)

from .conftest import IMAGE, TICKET, ListedPackage, ListedPackages, Narrow, ScriptedUplinks

FW = f"/fw/{TICKET}"
SIZE_WANTED = ((SIZE2, b""),)
IF_MATCH, IF_NONE_MATCH = 1, 5


async def ask(
    peer: DevicePeer, number: int | None = None, szx: int = 5, more: tuple[tuple[int, bytes], ...] = ()
) -> Frame:
    """Ask for a block, for none in particular where `number` is None."""
    block = None if number is None else Block(number, False, szx)
    return await peer.reply(peer.request(GET, FW, block2=block, more=more))


async def fetch(peer: DevicePeer, szx: int, token: bytes) -> list[Frame]:
    """All blocks, one after the other, as Zephyr asks for them."""
    replies: list[Frame] = []
    number = 0
    while True:
        asked = peer.request(GET, FW, token=token, block2=Block(number, False, szx), more=SIZE_WANTED)
        reply = await peer.reply(asked)
        replies.append(reply)
        block = reply.block(BLOCK2)
        assert block is not None
        assert block.number == number
        szx = min(szx, block.szx)
        if not block.more:
            return replies
        number = (block.number + 1) * block.size >> szx + 4


@pytest.mark.parametrize("szx", range(7))
async def test_all_blocks_under_one_token(peer: DevicePeer, package: ListedPackage, szx: int) -> None:
    replies = await fetch(peer, szx, b"sametokn")
    assert b"".join(reply.payload for reply in replies) == IMAGE
    assert {reply.status for reply in replies} == {"2.05"}
    size = 16 << szx
    for number, reply in enumerate(replies):
        assert reply.block(BLOCK2) == Block(number, (number + 1) * size < len(IMAGE), szx)
        assert (reply.one(ETAG), reply.number(CONTENT_FORMAT)) == (package.etag, 42)
        assert reply.number(SIZE2) == len(IMAGE)
        assert len(reply.encode()) < 1152
    assert package.told == [min((n + 1) * size, len(IMAGE)) for n in range(len(replies))]


async def test_who_names_no_block_gets_the_first_512_bytes(peer: DevicePeer, package: ListedPackage) -> None:
    reply = await ask(peer)
    assert (reply.payload, reply.block(BLOCK2)) == (IMAGE[:512], Block(0, True, 5))
    assert (reply.number(SIZE2), reply.one(ETAG)) == (len(IMAGE), package.etag)


async def test_the_size_is_told_with_the_first_block_and_when_asked_for(
    peer: DevicePeer, package: ListedPackage
) -> None:
    assert [(await ask(peer, n)).number(SIZE2) for n in (0, 1, 5)] == [len(IMAGE), None, None]
    assert (await ask(peer, 3, more=SIZE_WANTED)).number(SIZE2) == len(IMAGE)


@pytest.mark.parametrize("size", [1, 511, 512])
async def test_a_package_of_one_block(peer: DevicePeer, packages: ListedPackages, size: int) -> None:
    small = packages.listed[TICKET] = ListedPackage(IMAGE[:size])
    reply = await ask(peer)
    assert (reply.status, reply.payload, reply.one(BLOCK2)) == ("2.05", IMAGE[:size], None)
    reply = await ask(peer, 0)
    assert (reply.payload, reply.block(BLOCK2)) == (IMAGE[:size], Block(0, False, 5))
    assert small.told == [size, size]


async def test_the_last_block_may_be_full(peer: DevicePeer, packages: ListedPackages) -> None:
    packages.listed[TICKET] = ListedPackage(IMAGE[:1024])
    assert (await ask(peer, 0)).block(BLOCK2) == Block(0, True, 5)
    assert (await ask(peer, 1)).block(BLOCK2) == Block(1, False, 5)
    assert (await ask(peer, 2)).status == "4.00"


async def test_a_client_may_change_its_block_size(peer: DevicePeer, package: ListedPackage) -> None:
    """RFC 7959 2.4: it goes on at the same byte with smaller blocks, or goes back to anything it likes."""
    assert (await ask(peer, 0, 6)).payload == IMAGE[:1024]
    assert (await ask(peer, 16, 2)).payload == IMAGE[1024:1088]
    assert (await ask(peer, 2, 5)).payload == IMAGE[1024:1536]
    assert (await ask(peer, 0, 0)).payload == IMAGE[:16]


@pytest.mark.parametrize(
    ("number", "szx"), [(0, 7), (3, 7), (6, 5), (3, 6), (2**20 - 1, 6), (2**20 - 1, 0), (2**40, 5)]
)
async def test_a_block_that_is_not_there(
    peer: DevicePeer, package: ListedPackage, number: int, szx: int
) -> None:
    reply = await ask(peer, number, szx)
    assert (reply.status, reply.one(BLOCK2)) == ("4.00", None)
    assert package.told == []


async def test_the_more_bit_of_a_request_means_nothing(peer: DevicePeer, package: ListedPackage) -> None:
    """RFC 7959 2.2: in a request it MUST be set to zero, and is ignored."""
    reply = await peer.reply(peer.request(GET, FW, block2=Block(1, True, 5)))
    assert (reply.payload, reply.block(BLOCK2)) == (IMAGE[512:1024], Block(1, True, 5))


@pytest.mark.parametrize(
    ("max_message", "szx", "expected"), [(1024, 6, 5), (512, 6, 4), (512, 5, 4), (512, 3, 3)]
)
async def test_blocks_that_fit_into_the_records_of_a_session(
    peer: DevicePeer, package: ListedPackage, narrow: Narrow, max_message: int, szx: int, expected: int
) -> None:
    """RFC 7959 2.4: the server answers with smaller blocks, and the client goes on with those."""
    narrow(max_message)
    replies = await fetch(peer, szx, b"sametokn")
    assert b"".join(reply.payload for reply in replies) == IMAGE
    assert {block.szx for reply in replies if (block := reply.block(BLOCK2))} == {expected}
    assert max(len(reply.encode()) for reply in replies) <= max_message
    # One that does not take the hint gets what it asked for from the same byte on.
    reply = await ask(peer, 1, szx)
    assert reply.payload == IMAGE[16 << szx :][: 16 << expected]


# Other options


async def test_accept(peer: DevicePeer, package: ListedPackage) -> None:
    assert (await ask(peer, 0, more=((ACCEPT, b"\x2a"),))).status == "2.05"
    for other in (b"", b"\x70", b"\x2a\0\0\0", b"\xff" * 20):
        assert (await ask(peer, 0, more=((ACCEPT, other),))).status == "4.06"


async def test_a_query_is_passed_over(peer: DevicePeer, package: ListedPackage) -> None:
    reply = await peer.reply(peer.request(GET, FW, query=("v=1.2.3", "x")))
    assert reply.payload == IMAGE[:512]


async def test_a_package_that_the_client_has(peer: DevicePeer, package: ListedPackage) -> None:
    """RFC 7252 5.10.6.2: 2.03 and the tag, no payload."""
    reply = await ask(peer, 0, more=((ETAG, b"another"), (ETAG, package.etag)))
    assert (reply.status, reply.payload, reply.options) == ("2.03", b"", ((ETAG, package.etag),))
    assert (await ask(peer, 0, more=((ETAG, b"another"),))).payload == IMAGE[:512]
    assert (await ask(peer, more=((ETAG, package.etag),))).status == "2.03"


async def test_a_client_that_repeats_the_tag_gets_its_block(peer: DevicePeer, package: ListedPackage) -> None:
    """What it has under that tag it need not ask for: it has not got this one."""
    assert (await ask(peer, 2, more=((ETAG, package.etag),))).payload == IMAGE[1024:1536]


@pytest.mark.parametrize(
    ("option", "status"),
    [
        ((IF_MATCH, b""), "2.05"),
        ((IF_MATCH, b"8 bytes."), "2.05"),
        ((IF_MATCH, b"another"), "4.12"),
        ((IF_NONE_MATCH, b""), "4.12"),
    ],
)
async def test_conditions(
    peer: DevicePeer, package: ListedPackage, option: tuple[int, bytes], status: str
) -> None:
    for number in (0, 2):
        assert (await ask(peer, number, more=(option,))).status == status


async def test_a_critical_option_nobody_knows(peer: DevicePeer, package: ListedPackage) -> None:
    assert (await ask(peer, 0, more=((4097, b""),))).status == "4.02"
    assert (await ask(peer, 0, more=((4096, b""),))).status == "2.05"


# Who asks for what


@pytest.mark.parametrize("code", [POST, PUT, DELETE, FETCH])
async def test_it_can_only_be_fetched(peer: DevicePeer, package: ListedPackage, code: int) -> None:
    assert (await peer.reply(peer.request(code, FW, b"x"))).status == "4.05"
    assert package.told == []


@pytest.mark.parametrize("path", ["/fw/AbCd-_012346", "/fw", f"{FW}/0", f"/{TICKET}", "/fw/é", "/fw/../rd"])
async def test_unknown_tickets(
    peer: DevicePeer, package: ListedPackage, uplinks: ScriptedUplinks, path: str
) -> None:
    assert (await peer.reply(peer.request(GET, path))).status == "4.04"
    assert uplinks.requests.empty()


async def test_the_ticket_of_another_device(peer: DevicePeer, package: ListedPackage) -> None:
    package.owner = "somebody else"
    assert (await ask(peer, 0)).status == "4.03"


async def test_the_shelf_is_told_who_asks(
    peer: DevicePeer, package: ListedPackage, packages: ListedPackages
) -> None:
    await ask(peer, 0)
    (sender,) = packages.senders
    assert sender is not None
    assert sender.peer == peer.address


async def test_a_package_that_is_taken_away_in_the_middle(
    peer: DevicePeer, package: ListedPackage, packages: ListedPackages
) -> None:
    assert (await ask(peer, 0)).status == "2.05"
    del packages.listed[TICKET]
    assert (await ask(peer, 1)).status == "4.04"


async def test_a_file_that_is_gone(peer: DevicePeer, package: ListedPackage) -> None:
    package.gone = True
    reply = await ask(peer, 0)
    assert (reply.status, reply.one(BLOCK2), reply.one(ETAG)) == ("5.03", None, None)
    package.gone = False
    assert (await ask(peer, 0)).payload == IMAGE[:512]
    assert package.told == [512]


async def test_a_shelf_whose_file_is_gone(
    peer: DevicePeer, packages: ListedPackages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise PackageGone("no such file")

    monkeypatch.setattr(ListedPackages, "open", gone)
    assert (await ask(peer, 0)).status == "5.03"


# Repetitions


async def test_a_repeated_request_is_answered_again_and_nothing_is_kept(
    server: CoapServer, peer: DevicePeer, package: ListedPackage
) -> None:
    request = peer.request(GET, FW, block2=Block(1, False, 5))
    first = await peer.reply(request)
    for _ in range(5):
        peer.send(request)
        assert await peer.reply(request) == first
    found = server._find(peer.address)
    assert (found.replies, found.pending) == ((), ())


async def test_a_request_without_confirmation(peer: DevicePeer, package: ListedPackage) -> None:
    replies = []
    for number in range(2):
        request = peer.request(GET, FW, kind=NON, block2=Block(number, False, 5))
        reply = await peer.receive()
        assert (reply.kind, reply.token) == (NON, request.token)
        assert reply.payload == IMAGE[number * 512 : (number + 1) * 512]
        replies.append(reply.mid)
    assert replies[0] != replies[1]


async def test_two_devices_at_once(
    peer: DevicePeer, other_peer: DevicePeer, package: ListedPackage, packages: ListedPackages
) -> None:
    packages.listed["other"] = ListedPackage(IMAGE[::-1])
    for number in range(3):
        one = peer.request(GET, FW, token=b"t", mid=number, block2=Block(number, False, 5))
        two = other_peer.request(GET, "/fw/other", token=b"t", mid=number, block2=Block(number, False, 5))
        at = slice(number * 512, number * 512 + 512)
        assert (await peer.reply(one)).payload == IMAGE[at]
        assert (await other_peer.reply(two)).payload == IMAGE[::-1][at]


async def test_a_wrong_ticket_is_logged_like_other_refusals(
    peer: DevicePeer, package: ListedPackage, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await peer.reply(peer.request(GET, "/fw/secret-guess"))
    (record,) = [r for r in caplog.records if r.getMessage() == "request refused"]
    assert (record.__dict__["ERROR_CODE"], record.__dict__["COAP_CODE"]) == ("not_found", "4.04")
    assert "secret-guess" not in str(vars(record)), "a ticket is a key"


async def test_a_request_with_a_block_of_its_own(peer: DevicePeer, package: ListedPackage) -> None:
    """Block1 says nothing where there is no payload."""
    listed = options(FW, block1=Block(0, True, 5), block2=Block(0, False, 5))
    peer.send(Frame(CON, GET, 7, b"t", listed))
    reply = await peer.receive()
    assert (reply.kind, reply.status, reply.payload) == (ACK, "2.05", IMAGE[:512])


async def test_a_defect_of_the_shelf_is_silence(
    peer: DevicePeer,
    package: ListedPackage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The device asks again, and by then it may be over."""

    def defective(*_: object) -> None:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patched:
        patched.setattr(ListedPackage, "read", defective)
        request = peer.request(GET, FW, block2=Block(0, False, 5))
        await peer.silent()
    assert "a defect" in caplog.text
    caplog.clear()
    peer.send(request)
    assert (await peer.reply(request)).payload == IMAGE[:512]
