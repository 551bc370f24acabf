"""Saving while the disk is slow: no session may send beyond what is on the disk, whatever is under way."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from flownexus_appliance.coap.dtls.peer import AHEAD, DtlsPeer, ahead, records_sent
from flownexus_appliance.coap.dtls.saver import Saver
from flownexus_appliance.coap.dtls.transport import DtlsTransport
from flownexus_appliance.fleet.ports import Admission, SavedSession

from .joined import psk_joined
from .secure import FULL, psk


@dataclass(slots=True)
class SlowKeeper:
    """A disk that takes what was put when the test says so; `limits` are the records that its rows allow."""

    limits: dict[bytes, int] = field(default_factory=dict)
    commits: list["asyncio.Future[None]"] = field(default_factory=list)
    _puts: list[Callable[[], None]] = field(default_factory=list)

    def put_session(self, saved: SavedSession) -> None:
        self._puts.append(lambda: self.limits.update({saved.id: records_sent(saved.counters)}))

    def put_session_counters(self, counters: Mapping[bytes, tuple[bytes, str, int]]) -> None:
        moved = {known: records_sent(counter) for known, (counter, _, _) in counters.items()}
        self._puts.append(lambda: self.limits.update({i: n for i, n in moved.items() if i in self.limits}))

    def remove_session(self, session_id: bytes) -> None:
        self._puts.append(lambda: self.limits.__delitem__(session_id))

    def commit(self) -> "asyncio.Future[None]":
        self.commits.append(asyncio.get_running_loop().create_future())
        return self.commits[-1]

    async def takes(self) -> None:
        """The oldest commit under way is done."""
        self._puts.pop(0)()
        self.commits.pop(0).set_result(None)
        await asyncio.sleep(0)

    async def fails(self) -> None:
        self._puts.pop(0)
        failed = self.commits.pop(0)
        failed.set_exception(FULL)
        failed.exception()
        await asyncio.sleep(0)


def new_peer() -> DtlsPeer:
    """A session that sleeps."""
    session, nobody = psk_joined().server, cast(DtlsTransport, None)
    peer = DtlsPeer(nobody, b"12345678", session.freeze(), psk("device"), Admission("device", 1))
    peer.counters = session.counters()
    return peer


async def test_a_new_session_is_allowed_more_only_by_the_disk() -> None:
    keeper = SlowKeeper()
    saver = Saver(keeper, lambda: None)
    peer = new_peer()
    saver.made(peer)
    first = peer.record_limit
    peer.counters = ahead(peer.counters, AHEAD - 10)  # it has sent as many, and the disk is still at it
    await saver.save()
    assert peer.record_limit == first
    await keeper.takes()
    assert keeper.limits[peer.id] >= peer.record_limit
    while keeper.commits:
        await keeper.fails()
    assert keeper.limits[peer.id] >= peer.record_limit


async def test_a_new_session_that_the_disk_takes_at_the_second_try_may_go_on() -> None:
    keeper = SlowKeeper()
    saver = Saver(keeper, lambda: None)
    peer = new_peer()
    saver.made(peer)
    await keeper.fails()
    first = peer.record_limit
    peer.counters = ahead(peer.counters, AHEAD - 10)
    await saver.save()
    await keeper.takes()
    assert keeper.limits[peer.id] == peer.record_limit > first
