"""Notifications: judged by the fleet before a word is said about them (RFC 7641, RFC 7252 4.2)."""

import pytest

from flownexus_appliance.fleet.ports import Notification, Sender, Verdict
from tests.peer import ACK, BLOCK2, CHANGED, CON, EMPTY, NON, RST, SENML_CBOR, Block, DevicePeer, Frame

from .conftest import ScriptedUplinks

TOKEN = b"observed"


async def test_what_the_fleet_gets(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    peer.notify(TOKEN, 7, b"\x80", SENML_CBOR)
    notification, judge = await uplinks.notification()
    assert notification == Notification(
        Sender(peer.address, peer.address), TOKEN, 7, "2.05", SENML_CBOR, b"\x80", partial=False
    )
    judge(Verdict.TAKEN)


async def test_a_confirmable_notification_is_acknowledged_once_it_is_judged(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    notification = peer.notify(TOKEN, 1)
    _, judge = await uplinks.notification()
    await peer.silent()
    judge(Verdict.TAKEN)
    assert await peer.receive() == Frame(ACK, EMPTY, notification.mid)
    await peer.silent()


async def test_a_non_confirmable_notification_is_not_acknowledged(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    peer.notify(TOKEN, 1, kind=NON)
    _, judge = await uplinks.notification()
    judge(Verdict.TAKEN)
    await peer.silent()


@pytest.mark.parametrize("kind", [CON, NON])
async def test_a_refused_notification_is_reset(peer: DevicePeer, uplinks: ScriptedUplinks, kind: int) -> None:
    """RFC 7641 3.6: the device then drops the observation."""
    notification = peer.notify(TOKEN, 1, kind=kind)
    _, judge = await uplinks.notification()
    judge(Verdict.REFUSED)
    assert await peer.receive() == Frame(RST, EMPTY, notification.mid)


async def test_silence_and_then_the_same_one_again_is_a_new_try(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    notification = peer.notify(TOKEN, 1)
    _, judge = await uplinks.notification()
    judge(Verdict.SILENT)
    await peer.silent()
    peer.send(notification)
    _, judge = await uplinks.notification()
    judge(Verdict.TAKEN)
    assert await peer.receive() == Frame(ACK, EMPTY, notification.mid)


@pytest.mark.parametrize("kind", [CON, NON])
async def test_a_duplicate_while_it_is_judged_is_ignored(
    peer: DevicePeer, uplinks: ScriptedUplinks, kind: int
) -> None:
    notification = peer.notify(TOKEN, 1, kind=kind)
    _, judge = await uplinks.notification()
    peer.send(notification)
    await peer.silent()
    assert uplinks.notifications.empty()
    judge(Verdict.TAKEN)
    if kind == CON:
        assert await peer.receive() == Frame(ACK, EMPTY, notification.mid)
    await peer.silent()


async def test_devices_with_the_same_message_id(
    peer: DevicePeer, other_peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    peer.notify(TOKEN, 1, mid=9)
    other_peer.notify(TOKEN, 1, mid=9)
    judges = {}
    for _ in range(2):
        notification, judge = await uplinks.notification()
        judges[notification.sender.address] = judge
    judges[other_peer.address](Verdict.TAKEN)
    assert await other_peer.receive() == Frame(ACK, EMPTY, 9)
    await peer.silent()
    judges[peer.address](Verdict.REFUSED)
    assert await peer.receive() == Frame(RST, EMPTY, 9)


async def test_the_first_block_of_a_large_one(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    peer.notify(TOKEN, 1, b"x" * 512, block2=Block(0, True, 5))
    notification, judge = await uplinks.notification()
    assert notification.partial
    judge(Verdict.SILENT)
    peer.notify(TOKEN, 2, b"x" * 12, block2=Block(0, False, 5))
    notification, judge = await uplinks.notification()
    assert not notification.partial
    judge(Verdict.TAKEN)
    await peer.receive()


@pytest.mark.parametrize(
    ("code", "text"), [(0x84, "4.04"), (0xA0, "5.00"), (CHANGED, "2.04"), (0x86, "4.06")]
)
async def test_errors_and_odd_codes_reach_the_fleet(
    peer: DevicePeer, uplinks: ScriptedUplinks, code: int, text: str
) -> None:
    peer.notify(TOKEN, None, content_format=None, code=code)
    notification, judge = await uplinks.notification()
    assert (notification.code, notification.observe, notification.content_format) == (text, None, None)
    judge(Verdict.TAKEN)
    await peer.receive()


async def test_absurd_options(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    """Option values far beyond their lengths: those of Content-Format and Observe are elective."""
    peer.send(
        Frame(CON, 0x45, 3, TOKEN, ((6, b"\xff" * 800), (12, b"\xff" * 800), (BLOCK2, b"\xff" * 300)), b"x")
    )
    notification, judge = await uplinks.notification()
    assert notification.content_format is None
    assert notification.observe is None
    judge(Verdict.TAKEN)
    assert await peer.receive() == Frame(ACK, EMPTY, 3)


async def test_a_defect_above_leaves_it_unanswered_and_the_next_try_is_taken(
    peer: DevicePeer,
    uplinks: ScriptedUplinks,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(ScriptedUplinks, "notified", broken)
        notification = peer.notify(TOKEN, 1)
        await peer.silent()
    caplog.clear()
    peer.send(notification)
    _, judge = await uplinks.notification()
    judge(Verdict.TAKEN)
    assert await peer.receive() == Frame(ACK, EMPTY, notification.mid)
