"""Bootstrap as a device lives it: happy, broken half-way, by large certificates, and asked for anew."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from flownexus_appliance.coap.dtls.engine import Kind
from flownexus_appliance.lwm2m.codecs import encode
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.links import parse_links
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record, Value
from flownexus_appliance.sim.bootstrap import (
    BOOTSTRAP_S,
    MAX_PROOFS,
    MAX_REFUSALS,
    MOVES,
    SETTLE_S,
    Move,
    Phase,
)
from flownexus_appliance.sim.credentials import Psk
from flownexus_appliance.sim.lifecycle import State
from flownexus_appliance.sim.messages import Block, Code, Message
from flownexus_appliance.sim.options import SimOptions

from .peer import LOCATION, SENML, segments
from .secure_peer import SECURE, SecurePeer, Server, authority, fingerprint

NEW_KEY = bytes(range(100, 116))
CALM = replace(SECURE, sample_period_s=86_400.0, lifetime_s=3000, bootstrap=True)
PLAIN = replace(CALM, credentials=None, port=5683)
Values = Sequence[tuple[int, Value]]


class Bootstrapper(SecurePeer):
    """A Bootstrap-Server and a LwM2M Server in one, as the box is."""

    def __init__(self, options: SimOptions = CALM, server: Server | None = None) -> None:
        super().__init__(options, server=server if options.credentials else Server())
        self.plain = options.credentials is None
        self.no_registers = False

    def transmit(self, data: bytes) -> None:
        if self.plain:
            self._hear(data)
        else:
            super().transmit(data)

    def connect(self, host: str, port: int) -> bool:
        self.plain = port == 5683
        return super().connect(host, port)

    def say(self, message: Message) -> None:
        if self.plain:
            super(SecurePeer, self).say(message)
        else:
            super().say(message)

    def answer(self, message: Message, code: Code, location: tuple[str, ...] = ()) -> None:
        if self.no_registers and message.path == ("rd",):
            code = Code.BAD_REQUEST
        super().answer(message, code, location)

    # What a Bootstrap-Server does

    def wait_for_request(self) -> Message:
        """The Bootstrap-Request; answered well, as all is while `friendly`."""
        if self.device.bootstrap.phase is Phase.IDLE:
            self.device.start(self.now)
        self.advance(max(0.0, self.device.bootstrap.due - self.now))
        request = next(m for m in self.take() if m.is_request)
        assert request.path == ("bs",)
        return request

    def delete(self, path: str) -> Code:
        return Code(self.request(Message(Code.DELETE, path=segments(path))).code)

    def install(
        self, path: str, values: Values, content_format: ContentFormat = ContentFormat.TLV
    ) -> Message:
        payload = encode(
            content_format, records(path, values, self.device.profile.tree.type_of), base=Path.parse(path)
        )
        return self.request(Message(Code.PUT, payload, path=segments(path), content_format=content_format))

    def install_psk(
        self, key: bytes = NEW_KEY, uri: str = "coaps://192.0.2.9:5685", instance: int = 1
    ) -> None:
        """Delete what was there, write one account."""
        for path in ("/0", "/1"):
            assert self.delete(path) == Code.DELETED
        account: Values = [(0, uri), (1, False), (2, 0), (3, b"new"), (4, b""), (5, key), (10, 7)]
        assert self.install(f"/0/{instance}", account).code == Code.CHANGED
        self.install_server(instance)

    def install_server(self, instance: int = 1) -> None:
        values: Values = [(0, 7), (1, 600), (6, True), (7, "U"), (23, True)]
        assert self.install(f"/1/{instance}", values).code == Code.CHANGED

    def finish(self) -> Message:
        return self.request(Message(Code.POST, path=("bs",)))

    def bootstrap(self) -> None:
        """All of it, to the first Register by the new account."""
        self.server.ring.put(Kind.PSK, b"new", NEW_KEY)
        self.wait_for_request()
        self.install_psk()
        assert self.finish().code == Code.CHANGED
        self.advance(SETTLE_S)


def records(path: str, values: Values, types: Callable[[Path], DataType | None]) -> tuple[Record, ...]:
    at = Path.parse(path)
    found = []
    for number, value in values:
        data_type = types(at.child(number))
        assert data_type is not None
        found.append(Record(at.child(number), value, data_type))
    return tuple(found)


def bootstrapped(options: SimOptions = CALM) -> Bootstrapper:
    peer = Bootstrapper(options)
    peer.bootstrap()
    assert peer.is_in(State.REGISTERED)
    peer.take()
    return peer


# The whole of it


def test_a_device_is_bootstrapped_and_registers_by_what_it_was_given() -> None:
    peer = Bootstrapper()
    peer.server.ring.put(Kind.PSK, b"new", NEW_KEY)
    request = peer.wait_for_request()
    assert request.query == ("ep=sim-0001", "pct=112")
    peer.install_psk()
    assert peer.finish().code == Code.CHANGED
    peer.advance(SETTLE_S / 2)
    assert peer.is_in(State.OFF)
    peer.advance(SETTLE_S / 2)
    register = next(m for m in peer.take() if m.path == ("rd",))
    assert "lt=600" in register.query
    assert b"</0" not in register.payload
    assert b"</1/1>" in register.payload
    # First the Bootstrap-Server, already connected to; then the place it named.
    assert peer.places == [("127.0.0.1", 5684), ("192.0.2.9", 5685)]
    assert peer.is_in(State.REGISTERED)
    assert (peer.statistics.bootstraps, peer.statistics.bootstraps_failed) == (1, 0)
    assert peer.server.handshakes == 2
    peer.advance(600)
    assert peer.statistics.updates >= 1  # by the lifetime of the account


@pytest.mark.parametrize(
    ("version", "query"),
    [("1.0", ("ep=sim-0001",)), ("1.1", ("ep=sim-0001", "pct=112")), ("1.2", ("ep=sim-0001", "pct=112"))],
)
def test_the_request_and_all_versions(version: str, query: tuple[str, ...]) -> None:
    peer = Bootstrapper(replace(CALM, lwm2m_version=version))
    assert peer.wait_for_request().query == query
    peer.server.ring.put(Kind.PSK, b"new", NEW_KEY)
    if version == "1.0":
        peer.delete("/")
        account: Values = [
            (0, "coaps://h:1"),
            (1, False),
            (2, 0),
            (3, b"new"),
            (4, b""),
            (5, NEW_KEY),
            (10, 7),
        ]
        assert peer.install("/0/1", account).code == Code.CHANGED
        assert peer.install("/1/0", [(0, 7), (1, 600), (6, True), (7, "U")]).code == Code.CHANGED
    else:
        peer.install_psk()
    assert peer.finish().code == Code.CHANGED
    peer.advance(SETTLE_S)
    assert peer.is_in(State.REGISTERED)


def test_the_hold_off_time() -> None:
    peer = Bootstrapper(replace(CALM, bootstrap_hold_s=30))
    peer.device.start(peer.now)
    peer.advance(29.9)
    assert peer.wire == []
    peer.advance(0.1)
    assert peer.heard[-1].path == ("bs",)


def test_without_dtls_all_the_way() -> None:
    peer = Bootstrapper(PLAIN)
    peer.wait_for_request()
    assert peer.install("/0/1", [(0, "coap://192.0.2.9"), (1, False), (2, 3), (10, 7)]).code == Code.CHANGED
    peer.install_server()
    assert peer.finish().code == Code.CHANGED
    peer.advance(SETTLE_S)
    assert peer.is_in(State.REGISTERED)
    assert peer.places[-1] == ("192.0.2.9", 5683)
    assert peer.statistics.handshakes == 0


def test_large_certificates_come_block_by_block() -> None:
    peer = Bootstrapper()
    root, key_of_box = authority("root"), authority("root").leaf("box")
    server = Server(key_of_box, (root.der,))
    leaf = root.leaf("sim-0001", extra_bytes=1200)
    assert len(leaf.certificates[0]) > 1200
    server.ring.put(Kind.CERTIFICATE, fingerprint(leaf.certificates[0]))
    peer.wait_for_request()
    peer.delete("/0")
    assert peer.install("/0/1", [(0, "coaps://h"), (1, False), (2, 2), (10, 7)]).code == Code.CHANGED
    for resource, value in ((3, leaf.certificates[0]), (4, root.der), (5, leaf.key)):
        replies = put_in_blocks(peer, f"/0/1/{resource}", value)
        assert set(replies[:-1]) <= {Code.CONTINUE}
        assert replies[-1] == Code.CHANGED
    peer.install_server()
    assert peer.finish().code == Code.CHANGED
    peer.server = server
    peer.advance(SETTLE_S)
    assert peer.is_in(State.REGISTERED)
    assert server.handshakes == 1


def put_in_blocks(peer: Bootstrapper, path: str, value: bytes, size: int = 512) -> list[int]:
    codes = []
    for number in range(-(-len(value) // size)):
        part = value[number * size : (number + 1) * size]
        request = Message(Code.PUT, part, path=segments(path), content_format=ContentFormat.OPAQUE)
        request.block1 = Block(number, (number + 1) * size < len(value), Block.exponent_for(size))
        request.size1 = len(value) if number == 0 else None
        codes.append(peer.request(request).code)
    return codes


# What the server may do


def test_discover_tells_accounts_as_clients_do() -> None:
    peer = Bootstrapper()
    peer.wait_for_request()
    assert peer.discover("/0") == 'lwm2m="1.1",</0>;ver=1.1,</0/0>'
    peer.install_psk()
    links = peer.discover("/")
    assert links.startswith('lwm2m="1.1",</0>;ver=1.1,</0/0>,</0/1>;ssid=7;uri="coaps://192.0.2.9:5685",')
    assert ",</1/1>;ssid=7," in links
    assert ",</2>;ver=1.1," in links
    assert {link.target for link in parse_links(links.encode())} > {"/0/0", "/0/1", "/1/1", "/3/0"}
    assert peer.get("/9", ContentFormat.LINK).code == Code.NOT_FOUND
    assert peer.get("/1/1", ContentFormat.LINK).code == Code.METHOD_NOT_ALLOWED


@pytest.mark.parametrize(
    ("version", "leading"), [("1.0", 'lwm2m="1.0",</0/0>'), ("1.2", "</>;lwm2m=1.2,</0>")]
)
def test_discover_by_version(version: str, leading: str) -> None:
    peer = Bootstrapper(replace(CALM, lwm2m_version=version))
    peer.wait_for_request()
    assert peer.discover("/").startswith(leading)
    assert "uri=" not in peer.discover("/0")
    parse_links(peer.discover("/").encode())


def test_read_is_of_servers_and_access_control_alone() -> None:
    peer = Bootstrapper()
    peer.wait_for_request()
    peer.install_psk()
    reply = peer.get("/1")
    assert reply.code == Code.CONTENT
    assert peer.read(reply, "/1")["/1/1/1"] == 600
    assert peer.read(peer.get("/1/1"), "/1/1")["/1/1/0"] == 7
    assert peer.get("/2").code == Code.CONTENT
    for path in ("/", "/0", "/0/1", "/3/0", "/1/1/1"):
        assert peer.get(path).code == Code.METHOD_NOT_ALLOWED, path
    assert peer.get("/1/5").code == Code.NOT_FOUND
    assert peer.get("/1", ContentFormat.LWM2M_CBOR).code == Code.NOT_ACCEPTABLE


def test_delete_keeps_the_bootstrap_account_and_the_device() -> None:
    peer = Bootstrapper()
    peer.wait_for_request()
    peer.install_psk()
    assert peer.delete("/") == Code.DELETED
    links = peer.discover("/")
    assert "</0/0>" in links
    assert "</3/0>" in links
    assert "</0/1>" not in links
    assert "</1/" not in links
    assert peer.delete("/0/0") == Code.BAD_REQUEST
    assert peer.delete("/3/0") == Code.METHOD_NOT_ALLOWED
    assert peer.delete("/0/9") == Code.NOT_FOUND
    assert peer.delete("/99") == Code.NOT_FOUND


@pytest.mark.parametrize(
    "content_format", [ContentFormat.TLV, SENML, ContentFormat.SENML_JSON, ContentFormat.JSON]
)
def test_write_of_an_instance_in_any_format(content_format: ContentFormat) -> None:
    peer = Bootstrapper()
    peer.wait_for_request()
    account: Values = [(0, "coaps://h"), (1, False), (2, 0), (3, b"i"), (4, b""), (5, b"k"), (10, 7)]
    assert peer.install("/0/4", account, content_format).code == Code.CHANGED
    assert peer.device.profile.tree.get(Path.of(0, 4, 5)) == b"k"
    # A single resource of it, one that no Write of a LwM2M Server may touch, and what is no account.
    assert peer.install("/1/4", [(0, 7)], content_format).code == Code.CHANGED
    assert peer.install("/3/0", [(15, "Europe/Rome")], content_format).code == Code.CHANGED
    assert peer.device.profile.tree.get(Path.of(3, 0, 15)) == "Europe/Rome"


def test_a_resource_that_an_older_object_does_not_have_is_passed_over() -> None:
    peer = Bootstrapper(replace(CALM, lwm2m_version="1.0"))
    peer.wait_for_request()
    newer = (*records("/0/1", [(10, 7)], peer.device.profile.tree.type_of),
             Record(Path.of(0, 1, 15), 2, DataType.UNSIGNED))  # fmt: skip
    payload = encode(ContentFormat.TLV, newer, base=Path.of(0, 1))
    assert peer.put("/0/1", payload, ContentFormat.TLV) == Code.CHANGED
    tree = peer.device.profile.tree
    assert (tree.get(Path.of(0, 1, 10)), tree.get(Path.of(0, 1, 15))) == (7, None)


def test_several_instances_in_one_write() -> None:
    peer = Bootstrapper()
    peer.wait_for_request()
    types = peer.device.profile.tree.type_of
    both = (*records("/1/0", [(0, 7), (1, 60)], types), *records("/1/3", [(0, 8), (1, 61)], types))
    payload = encode(ContentFormat.TLV, both, base=Path.of(1))
    request = Message(Code.PUT, payload, path=("1",), content_format=ContentFormat.TLV)
    assert peer.request(request).code == Code.CHANGED
    assert peer.device.profile.tree.instance_ids(1) == (0, 3)


def test_what_cannot_be_written_leaves_everything_as_it_was() -> None:
    peer = Bootstrapper()
    peer.wait_for_request()
    tree = peer.device.profile.tree
    before = tree.keep_accounts()
    wrong = encode(SENML, (Record(Path.of(0, 1, 5), "text", DataType.STRING),), base=Path.of(0, 1))
    right_then_wrong = encode(
        SENML,
        (
            Record(Path.of(0, 1, 0), "coap://h", DataType.STRING),
            Record(Path.of(0, 1, 2), "x", DataType.STRING),
        ),
        base=Path.of(0, 1),
    )
    assert peer.put("/0/1", wrong, SENML) == Code.BAD_REQUEST
    assert peer.put("/0/1", right_then_wrong, SENML) == Code.BAD_REQUEST
    assert peer.put("/0/1/99", b"1", ContentFormat.TEXT) == Code.NOT_FOUND
    assert peer.put("/77/0/1", b"1", ContentFormat.TEXT) == Code.NOT_FOUND
    assert peer.put("/3/1/15", b"x", ContentFormat.TEXT) == Code.METHOD_NOT_ALLOWED
    assert peer.put("/0/1/0", b"coap://h", 9999) == Code.UNSUPPORTED_CONTENT_FORMAT
    assert peer.put("/0/1/0", b"coap://h", ContentFormat.LWM2M_CBOR) == Code.UNSUPPORTED_CONTENT_FORMAT
    assert peer.execute("/3/0/4") == Code.METHOD_NOT_ALLOWED
    assert tree.keep_accounts() == before


def test_object_0_is_the_bootstrap_servers_alone() -> None:
    peer = bootstrapped()
    for path in ("/0", "/0/1", "/0/1/5"):
        assert peer.get(path).code == Code.UNAUTHORIZED
    assert peer.put("/0/1/5", b"k", ContentFormat.OPAQUE) == Code.UNAUTHORIZED
    assert peer.delete("/0/1") == Code.UNAUTHORIZED
    assert peer.delete("/1/1") == Code.METHOD_NOT_ALLOWED
    assert peer.finish().code != Code.CHANGED
    assert not any(path.startswith("/0/") for path in peer.read(peer.fetch("/")))


@pytest.mark.parametrize(
    "account",
    [
        [(0, "coaps://h"), (1, False), (2, 0), (3, b"i"), (4, b""), (5, b"k"), (10, 8)],  # no such server
        [(0, "coap://h"), (1, False), (2, 0), (3, b"i"), (4, b""), (5, b"k"), (10, 7)],  # PSK in the clear
        [(0, "http://h"), (1, False), (2, 3), (10, 7)],
        [(0, "coaps://[::1"), (1, False), (2, 0), (3, b"i"), (4, b""), (5, b"k"), (10, 7)],
        [(0, "coaps://h"), (1, False), (2, 0), (3, b"i"), (4, b""), (5, b""), (10, 7)],
        [(0, "coaps://h"), (1, False), (2, 2), (3, b"i"), (4, b"j"), (5, b"k"), (10, 7)],
        [(0, "coaps://h"), (1, False), (2, 1), (3, b"i"), (4, b"j"), (5, b"k"), (10, 7)],
    ],
)
def test_accounts_that_cannot_be_used_are_told_at_the_end(account: Values) -> None:
    peer = Bootstrapper()
    peer.wait_for_request()
    assert peer.install("/0/1", account).code == Code.CHANGED
    peer.install_server()
    reply = peer.finish()
    assert reply.code == Code.NOT_ACCEPTABLE
    assert reply.payload
    # It may yet be put right.
    peer.server.ring.put(Kind.PSK, b"new", NEW_KEY)
    peer.install_psk()
    assert peer.finish().code == Code.CHANGED
    peer.advance(SETTLE_S)
    assert peer.is_in(State.REGISTERED)


# What may go wrong


def test_a_bootstrap_that_stalls_is_given_up_and_tried_again() -> None:
    peer = Bootstrapper()
    peer.wait_for_request()
    before = peer.device.profile.tree.keep_accounts()
    assert peer.install("/0/1", [(0, "coaps://h")]).code == Code.CHANGED
    peer.advance(BOOTSTRAP_S - 1)
    assert peer.device.bootstrap.serving
    peer.advance(1)
    assert peer.device.bootstrap.phase is Phase.HOLDING
    assert peer.device.profile.tree.keep_accounts() == before
    assert peer.statistics.last_bootstrap_failure == "no Bootstrap-Finish in time"
    peer.bootstrap()
    assert peer.is_in(State.REGISTERED)
    assert (peer.statistics.bootstraps, peer.statistics.bootstraps_failed) == (1, 1)


def test_a_bootstrap_server_that_refuses_or_is_away_is_asked_ever_later() -> None:
    peer = Bootstrapper(PLAIN)
    peer.friendly = False
    peer.device.start(peer.now)
    waits = []
    for _ in range(6):
        peer.advance(max(0.0, peer.device.bootstrap.due - peer.now))
        peer.answer(peer.take_one(), Code.BAD_REQUEST)
        assert peer.device.bootstrap.phase is Phase.HOLDING
        waits.append(peer.device.bootstrap.due - peer.now)
    assert waits[0] <= 2
    assert 30 <= waits[5] <= 60
    assert peer.statistics.last_bootstrap_failure == "Bootstrap-Request: 4.00"
    peer.advance(waits[5] + 100)  # nobody answers
    assert peer.statistics.last_bootstrap_failure == "Bootstrap-Request: timeout"


def test_a_session_that_ends_half_way_ends_the_bootstrap() -> None:
    peer = Bootstrapper()
    peer.wait_for_request()
    peer.end_session()
    assert peer.device.bootstrap.phase is Phase.HOLDING
    peer.bootstrap()
    assert peer.is_in(State.REGISTERED)


def test_a_finish_may_overtake_the_answer_to_the_request() -> None:
    peer = Bootstrapper()
    peer.friendly = False
    peer.server.ring.put(Kind.PSK, b"new", NEW_KEY)
    peer.device.start(peer.now)
    peer.advance(0.0)
    request = peer.take_one()
    peer.install_psk()
    assert peer.finish().code == Code.CHANGED
    peer.answer(request, Code.CHANGED)
    peer.friendly = True
    peer.advance(SETTLE_S)
    assert peer.is_in(State.REGISTERED)


def test_an_account_that_does_not_work_leads_back_to_the_bootstrap_server() -> None:
    peer = Bootstrapper()
    peer.wait_for_request()
    peer.install_psk(key=b"a key the server does not have")
    assert peer.finish().code == Code.CHANGED
    peer.server.ring.put(Kind.PSK, b"new", NEW_KEY)
    peer.advance(SETTLE_S)
    for _ in range(MAX_PROOFS - 1):
        assert peer.device.bootstrap.phase is Phase.PROVING
        peer.advance(max(0.0, peer.device.registration.due - peer.now))
    assert peer.device.bootstrap.phase is Phase.HOLDING
    assert peer.is_in(State.OFF)
    peer.bootstrap()
    assert peer.is_in(State.REGISTERED)
    assert (peer.statistics.bootstraps, peer.statistics.bootstraps_failed) == (1, 1)


def test_a_server_that_knows_the_device_no_more_leads_back_too() -> None:
    peer = bootstrapped()
    peer.no_registers = True
    peer.server.forget()
    peer.server.ring.remove(Kind.PSK, b"new")
    for _ in range(1000):
        if peer.device.bootstrap.phase is Phase.RECEIVING:
            break
        peer.advance(10)
    assert peer.device.bootstrap.phase is Phase.RECEIVING
    assert peer.statistics.registration_failures == MAX_REFUSALS


# Once more, on request


def test_the_trigger_brings_new_credentials() -> None:
    peer = bootstrapped()
    assert peer.execute("/1/1/9") == Code.CHANGED
    peer.advance(0.0)
    assert peer.is_in(State.OFF)
    assert peer.device.bootstrap.phase is Phase.RECEIVING
    newest = bytes(range(50, 66))
    peer.server.ring.put(Kind.PSK, b"new", newest)
    peer.install_psk(key=newest, instance=2)
    assert peer.finish().code == Code.CHANGED
    peer.advance(SETTLE_S)
    assert peer.is_in(State.REGISTERED)
    assert peer.statistics.bootstraps == 2
    assert peer.device.profile.tree.get(Path.of(0, 2, 5)) == newest
    assert peer.device.profile.tree.instance_ids(0) == (0, 2)
    assert peer.execute("/1/2/8") == Code.CHANGED  # the new instance of Server is the one in use
    peer.advance(0.0)
    assert peer.take()[-1].path == LOCATION


@pytest.mark.parametrize("stalls", [True, False])
def test_the_old_account_is_kept_until_the_new_one_works(stalls: bool) -> None:
    peer = bootstrapped()
    peer.execute("/1/1/9")
    peer.advance(0.0)
    peer.install_psk(key=b"a key the server does not have", instance=2)
    if stalls:
        peer.advance(BOOTSTRAP_S)
    else:
        assert peer.finish().code == Code.CHANGED
    peer.advance(60)
    assert peer.is_in(State.REGISTERED)
    assert peer.device.bootstrap.phase is Phase.IDLE
    assert peer.device.profile.tree.get(Path.of(0, 1, 5)) == NEW_KEY
    assert peer.device.profile.tree.instance_ids(0) == (0, 1)
    assert peer.places[-1] == ("192.0.2.9", 5685)
    assert peer.statistics.bootstraps_failed == 1


def test_a_reboot_keeps_the_account_and_a_factory_reset_does_not() -> None:
    peer = bootstrapped()
    peer.execute("/3/0/4")
    peer.advance(5)
    assert peer.is_in(State.REGISTERED)
    assert peer.statistics.bootstraps == 1
    peer.execute("/3/0/5")
    peer.advance(5)
    assert peer.device.bootstrap.phase is Phase.RECEIVING
    assert peer.device.profile.tree.instance_ids(0) == (0,)


def test_a_reboot_in_the_midst_of_it_loses_what_was_written() -> None:
    peer = Bootstrapper()
    peer.wait_for_request()
    before = peer.device.profile.tree.keep_accounts()
    peer.install_psk()
    peer.device.vanish()
    assert peer.device.profile.tree.keep_accounts() == before
    assert peer.device.deadline == float("inf")


def test_a_device_without_a_bootstrap_server_refuses_the_trigger() -> None:
    peer = SecurePeer(replace(CALM, bootstrap=False))
    peer.boot()
    assert peer.execute("/1/0/9") != Code.CHANGED
    changed = bootstrapped()
    tree = changed.device.profile.tree
    tree.put(Path.of(0, 0, 1), False)
    assert changed.execute("/1/1/9") == Code.METHOD_NOT_ALLOWED


def test_stopping_at_any_time_leaves_nothing_to_wait_for() -> None:
    peer = Bootstrapper()
    peer.wait_for_request()
    assert not peer.device.stop(peer.now)
    assert peer.device.deadline == float("inf")
    registered = bootstrapped()
    assert registered.device.stop(registered.now)
    registered.be_friendly()
    assert registered.is_in(State.OFF)
    assert registered.device.deadline == float("inf")


def test_a_peer_that_is_no_bootstrap_server_hears_nothing_while_it_is_off() -> None:
    peer = Bootstrapper(PLAIN)
    peer.device.receive(b"\x40\1\0\1", peer.now)
    assert peer.take() == []
    assert peer.statistics.unheard == 1


def test_every_move_that_is_not_listed_is_a_defect() -> None:
    assert {phase for phase, _ in MOVES} == set(Phase)
    assert {move for _, move in MOVES} == set(Move)
    assert (Phase.IDLE, Move.FINISH) not in MOVES


def test_a_factory_account_of_a_psk_is_read_back_as_it_was() -> None:
    peer = Bootstrapper()
    tree = peer.device.profile.tree
    assert tree.get(Path.of(0, 0, 0)) == "coaps://127.0.0.1:5684"
    credential = peer.options.credentials
    assert credential is not None
    given = credential.of("sim-0001")
    assert isinstance(given, Psk)
    assert (tree.get(Path.of(0, 0, 3)), tree.get(Path.of(0, 0, 5))) == (given.identity, given.key)
