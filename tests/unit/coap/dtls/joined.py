"""Two ends of the DTLS engine joined in memory: no socket, a wire that a test can read, cut and reorder."""

import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from flownexus_appliance.coap.dtls.engine import CID_BYTES, Context, DtlsError, Kind, Ring, Session
from tests.peer import DEADLINE_S

KEY = bytes(range(16))
IDENTITY = b"device"
ADDRESS = b"192.0.2.7:49152"
# RFC 6347 4.1 and 4.2.2, RFC 9146 4.
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA, WITH_CID = 20, 21, 22, 23, 25
HEADER = 13


def ring(**keys: bytes) -> Ring:
    """A ring with these PSK identities and their keys; none said: IDENTITY with KEY."""
    made = Ring()
    for identity, key in (keys or {IDENTITY.decode(): KEY}).items():
        made.put(Kind.PSK, identity.encode(), key)
    return made


def psk_server(**keys: bytes) -> Context:
    return Context(ring=ring(**keys))


def psk_client(identity: bytes = IDENTITY, key: bytes = KEY, **more: object) -> Context:
    return Context(client=True, psk=(identity, key), cid_bytes=0, **more)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Datagram:
    to_server: bool
    data: bytes


def never(index: int, datagram: Datagram) -> bool:
    return False


@dataclass(slots=True)
class Joined:
    """A client and a server. `wire` is all that was sent, `errors` what ended either end's handshake."""

    server: Session
    client: Session
    wire: list[Datagram] = field(default_factory=list)
    errors: dict[str, DtlsError] = field(default_factory=dict)
    server_done: bool = False
    client_done: bool = False
    _greeted: bool = False
    _way: deque[Datagram] = field(default_factory=deque)

    @property
    def done(self) -> bool:
        return self.server_done and self.client_done

    def deliver(self, datagram: Datagram) -> None:
        """Give a datagram to its end, and put on the wire what that has to say to it."""
        try:
            if datagram.to_server:
                self._to_server(datagram.data)
            elif self.client_done:
                self.client.open(datagram.data)
            else:
                self.client_done = self.client.advance(datagram.data)
        except DtlsError as error:
            self.errors["server" if datagram.to_server else "client"] = error
        self.collect()

    def _to_server(self, data: bytes) -> None:
        if self.server_done:
            self.server.open(data)
        elif self._greeted:
            self.server_done = self.server.advance(data)
        elif self.server.hello(data, ADDRESS):
            self._greeted = True
            self.server.advance()

    def collect(self) -> None:
        for session, to_server in ((self.server, False), (self.client, True)):
            sent = [Datagram(to_server, data) for data in session.take()]
            self.wire += sent
            self._way += sent

    def shake(
        self,
        loses: Callable[[int, Datagram], bool] = never,
        alters: Callable[[Datagram], list[Datagram]] | None = None,
    ) -> "Joined":
        """Shake hands until both are done or one has failed; flights that are lost are sent again.

        `loses` is asked of the number of each datagram and it, `alters` says what arrives instead.
        """
        self.client.advance()
        self.collect()
        number = 0
        give_up_at = time.monotonic() + DEADLINE_S
        while not self.errors and (self._way or not self.done):
            assert time.monotonic() < give_up_at, "the handshake stands still"
            if not self._way:
                self._run_timers()
                continue
            datagram = self._way.popleft()
            number += 1
            if not loses(number - 1, datagram):
                for arriving in [datagram] if alters is None else alters(datagram):
                    self.deliver(arriving)
        while self._way:  # the alert of who failed
            self.deliver(self._way.popleft())
        return self

    def _run_timers(self) -> None:
        ends = (("server", self.server, self.server_done), ("client", self.client, self.client_done))
        for name, session, done in ends:
            if not done and session.timer() == 0:
                try:
                    session.advance()
                except DtlsError as error:
                    self.errors[name] = error
        self.collect()

    def exchange(self, message: bytes = b"a message") -> None:
        """A message each way arrives as it was sent."""
        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            opened = receiver.open(sender.seal(message))
            assert opened == ((message,), True, True, False)


def joined(
    server: Context,
    client: Context,
    *,
    client_cid: bool = True,
    server_offer: bytes = b"",
    client_offer: bytes = b"",
) -> Joined:
    """Two new sessions, with what each may resume."""
    ends = Joined(Session(server), Session(client))
    ends.server.use_cid(secrets.token_bytes(CID_BYTES))
    ends.client.use_cid(secrets.token_bytes(client.cid_bytes) if client_cid else None)
    if server_offer:
        ends.server.offer(server_offer)
    if client_offer:
        ends.client.offer(client_offer)
    return ends


def psk_joined() -> Joined:
    """A PSK session, its handshake over and a message exchanged."""
    ends = joined(psk_server(), psk_client()).shake()
    ends.exchange()
    return ends


def records(datagram: bytes, cid_bytes: int = 0) -> list[bytes]:
    """The records of a datagram (RFC 6347 4.1); those of type 25 have an id of `cid_bytes`."""
    found = []
    while datagram:
        header = HEADER + (cid_bytes if datagram[0] == WITH_CID else 0)
        size = header + int.from_bytes(datagram[header - 2 : header], "big")
        assert len(datagram) >= size
        found.append(datagram[:size])
        datagram = datagram[size:]
    return found
