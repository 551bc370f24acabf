"""Handshakes under way: off the event loop, bounded, fair.

RFC 6347 4.2. A peer is let in here after its cookie has come back, so its address is real. One thread
does the arithmetic of certificates, many handshakes a call, with the interpreter lock given away. A step of
a PSK handshake takes 20 us, less than handing it over: those are done at once.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from ..peers import SocketAddress, address_text
from ..sockets import Way
from .engine import PSK_SUITES, DtlsError, Session, failure, work
from .resumable import Resumption

# Each costs about 60 kB. Where all are taken the network with the most gives way, and in it the host with the
# most, its oldest first: ten thousand half-open peers of one network leave room for another one. Among equals
# the newcomer waits, for its ClientHello comes again: if a crowd that comes back after a power cut pushed its
# own first ones out, each of them would wait for the end of its handshake, a minute, and then do it again.
MAX_HANDSHAKES: Final = 256
PATIENCE_S: Final = 20.0  # then an equal gives way too: three turns over NB-IoT
MAX_WAITING: Final = 16  # datagrams of one peer, while its turn is awaited
BATCH: Final = 32
TIMER_PERIOD_S: Final = 0.25
log = logging.getLogger(__name__)


class Handshake:
    """A handshake under way, and the session it may resume; `hello` is the message it began with."""

    __slots__ = (
        "at_work",
        "cid",
        "hello",
        "host",
        "network",
        "quick",
        "resumes",
        "revoked",
        "session",
        "started_at",
        "waiting",
        "way",
    )

    def __init__(
        self,
        session: Session,
        cid: bytes,
        way: Way,
        hello: bytes,
        resumes: Resumption | None,
        started_at: float,
    ) -> None:
        self.session = session
        self.cid = cid
        self.way = way
        self.host = str(way.sockaddr[0])
        self.network = _network(self.host)
        self.hello = hello
        self.resumes = resumes
        self.started_at = started_at
        self.at_work = False
        self.revoked = False  # what it rests on is good no more
        self.quick = session.suite in PSK_SUITES
        # None: the timer has run out, or there is only the first step to do.
        self.waiting: deque[bytes | None] = deque()


class Handshakes:
    """The table of handshakes, by address and by the Connection ID they were promised.

    `send(data, way)` puts a datagram on the wire; `completed(handshake)` takes a session over, the
    datagrams in `waiting` are already its; `failed(handshake, error)` is told of the others.
    """

    def __init__(
        self,
        send: Callable[[bytes, Way], None],
        completed: Callable[[Handshake], None],
        failed: Callable[[Handshake, DtlsError], None],
        limit: int = MAX_HANDSHAKES,
    ) -> None:
        self._send = send
        self._completed = completed
        self._failed = failed
        self._limit = limit
        self._by_address: dict[SocketAddress, Handshake] = {}
        self._by_cid: dict[bytes, Handshake] = {}
        # One job a handshake, so there are no more of them; who is dropped takes his along.
        self._jobs: dict[Handshake, bytes | None] = {}
        self._work = threading.Condition()
        self._ended = False
        self._thread: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.evicted = 0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="dtls-handshakes")
        self._thread.start()

    async def stop(self) -> None:
        """End the thread; what is under way is dropped."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        thread, self._thread = self._thread, None
        if thread is not None:
            with self._work:
                self._ended = True
                self._jobs.clear()
                self._work.notify()
            await asyncio.to_thread(thread.join)
        self._by_address.clear()
        self._by_cid.clear()

    def __len__(self) -> int:
        return len(self._by_address)

    def __iter__(self) -> Iterator[Handshake]:
        return iter(self._by_address.values())

    def at(self, sockaddr: SocketAddress) -> Handshake | None:
        return self._by_address.get(sockaddr)

    def promised(self, cid: bytes) -> Handshake | None:
        return self._by_cid.get(cid)

    def begin(self, handshake: Handshake) -> None:
        """Take in one whose ClientHello was read, if there is room; another at its address is given up."""
        before = self._by_address.get(handshake.way.sockaddr)
        if before is not None:
            self._drop(before)
        elif len(self._by_address) >= self._limit and not self._make_room(handshake):
            return
        self._by_address[handshake.way.sockaddr] = handshake
        self._by_cid[handshake.cid] = handshake
        self.take(handshake, None)
        if self._timer is None:
            self._timer = self._loop.call_later(TIMER_PERIOD_S, self._tick)

    def take(self, handshake: Handshake, datagram: bytes | None) -> None:
        """A datagram of the peer has come; more than fit are lost, as on the way they may be."""
        if handshake.quick:
            self._done([(handshake, handshake.session.step(datagram))])
            return
        if handshake.at_work:
            if len(handshake.waiting) < MAX_WAITING:
                handshake.waiting.append(datagram)
            return
        handshake.at_work = True
        with self._work:
            self._jobs[handshake] = datagram
            self._work.notify()

    def _make_room(self, newcomer: Handshake) -> bool:
        """Give one up for a newcomer, or else the newcomer: False."""
        self.evicted += 1
        networks = Counter(handshake.network for handshake in self._by_address.values())
        network, most = networks.most_common(1)[0]
        own = networks[newcomer.network]
        there = [handshake for handshake in self._by_address.values() if handshake.network == network]
        hosts = Counter(handshake.host for handshake in there)
        host = hosts.most_common(1)[0][0]
        if network == newcomer.network:
            most, own = hosts[host], hosts[newcomer.host]
        oldest = next(handshake for handshake in there if handshake.host == host)
        if most <= own + 1 and newcomer.started_at < oldest.started_at + PATIENCE_S:
            return False
        self._drop(oldest)
        return True

    def _drop(self, handshake: Handshake) -> None:
        """Forget a handshake, if it is not forgotten already."""
        if self._by_cid.pop(handshake.cid, None) is None:
            return
        with self._work:
            self._jobs.pop(handshake, None)
        if self._by_address.get(handshake.way.sockaddr) is handshake:
            del self._by_address[handshake.way.sockaddr]

    def _tick(self) -> None:
        """See to flights that must be sent again, and to peers that fell silent."""
        self._timer = None
        for handshake in list(self._by_address.values()):
            if not handshake.at_work and handshake.session.timer() == 0:
                self.take(handshake, None)
        if self._by_address:
            self._timer = self._loop.call_later(TIMER_PERIOD_S, self._tick)

    def _done(self, results: list[tuple[Handshake, int]]) -> None:
        for handshake, result in results:
            try:
                self._settle(handshake, result)
            except Exception:
                # A defect of ours met one handshake; the next one is served.
                log.exception("handshake failed", extra={"PEER": address_text(handshake.way.sockaddr)})
                self._drop(handshake)

    def _settle(self, handshake: Handshake, result: int) -> None:
        handshake.at_work = False
        if self._by_cid.get(handshake.cid) is not handshake:
            return  # it had to make room meanwhile
        for datagram in handshake.session.take():
            self._send(datagram, handshake.way)
        if result == 1:
            self._drop(handshake)
            self._completed(handshake)
        elif result < 0:
            self._drop(handshake)
            self._failed(handshake, failure(result))
        elif handshake.waiting:
            self.take(handshake, handshake.waiting.popleft())

    # In the thread

    def _run(self) -> None:
        while batch := self._next_batch():
            results = work([(handshake.session, datagram) for handshake, datagram in batch])
            paired = [(handshake, result) for (handshake, _), result in zip(batch, results, strict=True)]
            # A closed loop raises RuntimeError: nobody is left to tell.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._done, paired)
            # Nothing is held while the next is awaited: a session is 40 kB, a batch more than a megabyte.
            del batch, results, paired

    def _next_batch(self) -> list[tuple[Handshake, bytes | None]]:
        """The next jobs, first come first; none when it is over."""
        with self._work:
            self._work.wait_for(lambda: self._jobs or self._ended)
            batch = list(islice(self._jobs.items(), BATCH))
            for handshake, _ in batch:
                del self._jobs[handshake]
            return batch


def _network(host: str) -> str:
    """Where one party is likely to have all the addresses: 256 of IPv4, a /64 of IPv6."""
    if "." in host:
        return host.rpartition(".")[0]
    return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])[:8].hex()
