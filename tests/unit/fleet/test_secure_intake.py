"""What devices send over DTLS, and who tries to be them: identity, new sessions, what is revoked."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

import pytest

from flownexus_appliance.db import writer as writer_module
from flownexus_appliance.db.credentials import Credential
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.sessions import SavedSession, session_name
from flownexus_appliance.errors import PeerError
from flownexus_appliance.fleet.fleet import FleetOptions
from flownexus_appliance.fleet.ports import Action, Notification, Respond, Sender, Uplink, Verdict
from flownexus_appliance.lwm2m.effects import Reply, Success
from tests.conftest import FakeClock
from tests.peer import until

from .conftest import CBOR, ELSEWHERE, HOME, House, Outcome, a_house, operation, plain, senml
from .test_intake import BARE, TEMPERATURE, code_of, observed, value

ENROLLING = Sender(session_name(b"enrol"), HOME, enrolling=True)
NOBODY = Sender(session_name(b"nobody"), HOME)


def by(session: bytes, endpoint: str = "one", address: str = HOME) -> Sender:
    return Sender(session_name(session), address, endpoint)


FIRST, SECOND = by(b"first"), by(b"second", address=ELSEWHERE)
OTHER = by(b"other", "two")


@dataclass(slots=True)
class Secure:
    """A house whose devices speak by sessions."""

    house: House
    credential: Credential

    def uplink(self, action: Action, sender: Sender, **more: Any) -> Uplink:
        return replace(self.house.uplink(action, **more), sender=sender)

    async def outcome(self, action: Action, sender: Sender, **more: Any) -> Outcome:
        return await self.house.outcome(self.uplink(action, sender, **more))

    def register_request(self, sender: Sender, *query: str) -> Uplink:
        return self.uplink(
            Action.REGISTER, sender, query=("lwm2m=1.1", *query), content_format=40, payload=BARE
        )

    async def register(self, sender: Sender = FIRST, *query: str) -> str:
        reply = await self.house.outcome(self.register_request(sender, *query))
        assert isinstance(reply, Reply), reply
        return reply.location[1]

    def send_request(self, sender: Sender, reading: float = 1.0) -> Uplink:
        payload = senml({TEMPERATURE: reading})
        return self.uplink(Action.SEND, sender, content_format=CBOR, payload=payload)

    async def verdict(self, sender: Sender, number: int, reading: float = 21.5) -> Verdict:
        return await self.house.verdict(notification(sender, number, reading))

    def session(self) -> Any:
        """The session and the address of the registration on disk."""
        rows = self.house.rows("SELECT session, address FROM registration")
        return rows[0] if rows else None


def notification(sender: Sender, number: int | None, reading: float = 21.5) -> Notification:
    return replace(value(number, reading), sender=sender)


@pytest.fixture
async def secure(quiet_house: House) -> Secure:
    credentials = quiet_house.fleet.credentials
    await credentials.add_psk("two")
    return Secure(quiet_house, await credentials.add_psk("one"))


# As whom


async def test_a_device_registers_as_itself_with_or_without_its_name(secure: Secure) -> None:
    for query in ((), ("ep=one",)):
        registration_id = await secure.register(FIRST, *query)
        assert secure.house.rows.registrations() == {"one": registration_id}
    assert secure.session() == (FIRST.session, HOME)
    assert secure.house.fleet.presence("one") == "online"


@pytest.mark.parametrize("sender", [OTHER, ENROLLING, NOBODY, plain(HOME)])
async def test_nobody_else_registers_as_it(secure: Secure, sender: Sender) -> None:
    registration_id = await secure.register()
    request = secure.register_request(sender, "ep=one")
    assert code_of(await secure.house.outcome(request)) == "identity_refused"
    assert secure.house.rows.registrations() == {"one": registration_id}
    assert secure.session() == (FIRST.session, HOME)


@pytest.mark.parametrize("sender", [OTHER, ENROLLING, NOBODY, plain(HOME), plain(ELSEWHERE)])
async def test_nobody_else_updates_or_ends_its_registration(secure: Secure, sender: Sender) -> None:
    registration_id = await secure.register()
    before = secure.house.rows("SELECT * FROM registration")
    for action in (Action.UPDATE, Action.DEREGISTER):
        outcome = await secure.outcome(action, sender, registration_id=registration_id)
        assert code_of(outcome) == "identity_refused"
    assert secure.house.rows("SELECT * FROM registration") == before


async def test_whose_id_nobody_has_is_not_found(secure: Secure) -> None:
    for sender in (FIRST, plain(HOME)):
        outcome = await secure.outcome(Action.UPDATE, sender, registration_id="nosuchid01")
        assert code_of(outcome) == "registration_unknown"


async def test_a_send_is_the_sessions_own(secure: Secure) -> None:
    await secure.register()
    assert await secure.house.outcome(secure.send_request(FIRST)) == Reply(Success.CHANGED)
    assert code_of(await secure.house.outcome(secure.send_request(OTHER))) == "sender_unknown"
    assert code_of(await secure.house.outcome(secure.send_request(ENROLLING))) == "identity_refused"
    assert code_of(await secure.house.outcome(secure.send_request(NOBODY))) == "identity_refused"
    assert code_of(await secure.house.outcome(secure.send_request(plain(HOME)))) == "sender_unknown"
    assert secure.house.rows.samples("one", TEMPERATURE) == [1.0]


@pytest.mark.parametrize(
    ("sender", "verdict"),
    [
        (OTHER, Verdict.REFUSED),
        (ENROLLING, Verdict.REFUSED),
        (NOBODY, Verdict.REFUSED),
        (plain(HOME), Verdict.SILENT),
        (plain(FIRST.session), Verdict.SILENT),
    ],
)
async def test_nobody_else_notifies_for_it(secure: Secure, sender: Sender, verdict: Verdict) -> None:
    await secure.register()
    await observed(secure.house)
    assert await secure.verdict(sender, 1) is verdict
    assert secure.house.rows.samples("one", TEMPERATURE) == []
    assert await secure.verdict(FIRST, 1) is Verdict.TAKEN


# By a new session


async def test_an_update_takes_the_registration_to_the_new_session(secure: Secure) -> None:
    """Zephyr shakes hands again on a socket error while its lifetime lasts, and updates."""
    registration_id = await secure.register()
    await observed(secure.house)
    assert await secure.outcome(Action.UPDATE, SECOND, registration_id=registration_id) == Reply(
        Success.CHANGED
    )
    assert secure.session() == (SECOND.session, ELSEWHERE)
    assert await secure.verdict(SECOND, 1) is Verdict.TAKEN


async def test_a_send_takes_it_there_too(secure: Secure) -> None:
    await secure.register()
    secure.house.clock.advance(5)
    with secure.house.disk_held():
        answered = secure.house.ask(secure.send_request(SECOND))
        await until(lambda: secure.house.store.writer._in_flight is not None)
        assert not answered.done()
        assert secure.session() == (FIRST.session, HOME)
    assert await answered == Reply(Success.CHANGED)
    assert secure.session() == (SECOND.session, ELSEWHERE)
    assert secure.house.rows("SELECT last_seen_ms FROM endpoint WHERE name = 'one'") == [
        (secure.house.clock.wall_ms,)
    ]
    commits = secure.house.store.writer.commits
    await secure.house.outcome(secure.send_request(SECOND, 2.0))
    assert secure.house.store.writer.commits == commits + 1
    assert secure.house.rows.samples("one", TEMPERATURE) == [1.0, 2.0]


async def test_a_notification_takes_it_there_too(secure: Secure) -> None:
    await secure.register()
    await observed(secure.house)
    with secure.house.disk_held():
        judged = secure.house.notify(notification(SECOND, 1))
        await until(lambda: secure.house.store.writer._in_flight is not None)
        assert not judged.done()
    assert await judged is Verdict.TAKEN
    assert secure.session() == (SECOND.session, ELSEWHERE)
    secure.house.wire.plays[SECOND.peer] = lambda asked: asked.value({TEMPERATURE: 3.0})
    result = await secure.house.perform(operation("read", TEMPERATURE))
    assert result.status == "CONFIRMED", "requests go by the new session"


@pytest.mark.parametrize("number", [7, 6], ids=["the same again", "overtaken"])
async def test_even_one_that_brings_nothing_new_is_judged_after_the_move(secure: Secure, number: int) -> None:
    await secure.register()
    await observed(secure.house)
    await secure.verdict(FIRST, 7)
    with secure.house.disk_held():
        judged = secure.house.notify(notification(SECOND, number))
        await until(lambda: secure.house.store.writer._in_flight is not None)
        assert not judged.done()
    assert await judged is Verdict.TAKEN
    assert secure.session() == (SECOND.session, ELSEWHERE)


async def test_the_end_of_an_observation_moves_it_too(secure: Secure) -> None:
    await secure.register()
    await observed(secure.house)
    assert await secure.house.verdict(notification(SECOND, None)) is Verdict.TAKEN
    assert secure.session() == (SECOND.session, ELSEWHERE)
    assert secure.house.rows.observations("one") == {}


async def test_a_move_that_the_disk_does_not_take_is_made_with_the_next_message(secure: Secure) -> None:
    await secure.register()
    await observed(secure.house)
    with secure.house.disk_fails("INSERT ON registration"):
        assert await secure.verdict(SECOND, 1) is Verdict.SILENT
        assert await secure.house.outcome(secure.send_request(SECOND)) is None
        assert secure.session() == (FIRST.session, HOME)
    await secure.house.healed()
    assert await secure.verdict(SECOND, 1, 5.0) is Verdict.TAKEN
    assert secure.session() == (SECOND.session, ELSEWHERE)
    assert secure.house.fleet._intake._adrift == set()


async def test_a_bad_send_moves_nothing(secure: Secure) -> None:
    await secure.register()
    bad = secure.uplink(Action.SEND, SECOND, content_format=CBOR, payload=b"\xff")
    assert code_of(await secure.house.outcome(bad)) == "payload_invalid"
    assert secure.session() == (FIRST.session, HOME)


async def test_a_send_by_a_session_without_a_registration(secure: Secure) -> None:
    assert code_of(await secure.house.outcome(secure.send_request(FIRST))) == "sender_unknown"
    registration_id = await secure.register()
    await secure.outcome(Action.DEREGISTER, FIRST, registration_id=registration_id)
    assert code_of(await secure.house.outcome(secure.send_request(FIRST))) == "sender_unknown"
    assert secure.house.rows("SELECT count(*) FROM resource") == [(0,)]


# From plain CoAP to DTLS and back


async def test_the_first_credential_ends_a_plain_registration(quiet_house: House) -> None:
    house = quiet_house
    registration_id = await house.register(links=BARE)
    await observed(house)
    await house.fleet.credentials.add_psk("one")
    await house.told.change("one", "revoked")
    await house.told.presence("one", "offline")
    assert house.rows.registrations() == {}
    assert house.rows.observations("one") == {}
    assert await house.verdict(value(1)) is Verdict.REFUSED
    assert code_of(await house.update(registration_id)) == "registration_unknown"
    assert code_of(await house.outcome(house.register_request(links=BARE))) == "identity_refused"
    second = await house.fleet.credentials.add_psk("one")
    assert second.id == 2


async def test_an_offered_credential_guards_its_name(quiet_house: House) -> None:
    await quiet_house.fleet.credentials.renew_psk("one")
    request = quiet_house.register_request(links=BARE)
    assert code_of(await quiet_house.outcome(request)) == "identity_refused"


async def test_a_name_whose_credentials_are_gone_is_anybodys_again(secure: Secure) -> None:
    await secure.register()
    await secure.house.fleet.credentials.remove(secure.credential.id)
    assert await secure.house.register(links=BARE)
    assert secure.session() == ("", HOME)


async def test_plain_names_are_bounded(tmp_path: FilePath, clock: FakeClock) -> None:
    options = FleetOptions(watch_list=(), max_plain_endpoints=2)
    async with a_house(tmp_path / "db", clock, options) as house:
        await house.fleet.credentials.add_psk("guarded")
        for number in range(2):
            await house.register(f"plain {number}", links=BARE)
        request = house.register_request("plain 2", links=BARE)
        assert code_of(await house.outcome(request)) == "endpoints_full"
        assert await house.register("plain 0", links=BARE)
        assert house.rows("SELECT count(*) FROM endpoint") == [(3,)]


# Taken away


def kept_session(sender: Sender, credential: Credential) -> SavedSession:
    return SavedSession(
        bytes.fromhex(sender.peer[5:]), sender.address, credential.proof, b"", b"", b"", live=True, used_ms=1
    )


async def test_by_what_a_registered_device_came_is_told(secure: Secure) -> None:
    fleet = secure.house.fleet
    assert fleet.proof("one") is None
    await secure.register()
    assert fleet.proof("one") is None  # its session is not kept yet
    secure.house.store.put_session(kept_session(FIRST, secure.credential))
    assert fleet.proof("one") == secure.credential.proof
    request = secure.house.uplink(
        Action.REGISTER, query=("lwm2m=1.1", "ep=plain"), content_format=40, payload=BARE
    )
    assert isinstance(await secure.house.outcome(request), Reply)
    assert fleet.proof("plain") is None
    assert fleet.proof("nobody") is None


async def test_a_removed_credential_ends_the_registration(secure: Secure) -> None:
    registration_id = await secure.register()
    await observed(secure.house)
    await secure.house.fleet.credentials.remove(secure.credential.id)
    await secure.house.told.change("one", "revoked")
    await secure.house.told.presence("one", "offline")
    assert secure.house.rows.registrations() == {}
    assert secure.house.rows.observations("one") == {}
    assert secure.house.rows("SELECT name FROM endpoint ORDER BY 1") == [("one",), ("two",)]
    outcome = await secure.outcome(Action.UPDATE, FIRST, registration_id=registration_id)
    assert code_of(outcome) == "registration_unknown"


async def test_a_registration_that_rests_on_another_credential_stays(secure: Secure) -> None:
    house = secure.house
    second = await house.fleet.credentials.add_psk("one")
    house.store.put_session(kept_session(FIRST, second))
    await secure.register()
    await house.fleet.credentials.remove(secure.credential.id)
    assert set(house.rows.registrations()) == {"one"}
    await house.fleet.credentials.remove(second.id)
    await house.told.change("one", "revoked")


async def test_of_several_credentials_the_one_it_rests_on_ends_it(secure: Secure) -> None:
    house = secure.house
    await house.fleet.credentials.add_psk("one")
    house.store.put_session(kept_session(FIRST, secure.credential))
    await secure.register()
    await house.fleet.credentials.remove(secure.credential.id)
    await house.told.change("one", "revoked")
    assert house.rows.registrations() == {}
    assert house.fleet.credentials.has_any("one")


async def test_in_doubt_it_ends_and_the_device_comes_again(secure: Secure) -> None:
    """No session of that name is kept: nobody can say on what it rests."""
    await secure.house.fleet.credentials.add_psk("one")
    await secure.register()
    await secure.house.fleet.credentials.remove(secure.credential.id)
    await secure.house.told.change("one", "revoked")
    assert secure.house.rows.registrations() == {}
    assert await secure.register()


async def test_a_removal_that_the_disk_does_not_take_leaves_the_registration(secure: Secure) -> None:
    registration_id = await secure.register()
    with secure.house.disk_fails("UPDATE ON credential"), pytest.raises(StoreError):
        await secure.house.fleet.credentials.remove(secure.credential.id)
    await secure.house.healed()
    assert secure.house.rows.registrations() == {"one": registration_id}
    assert await secure.outcome(Action.UPDATE, FIRST, registration_id=registration_id) == Reply(
        Success.CHANGED
    )


async def test_the_end_of_a_registration_is_owed_to_a_disk_that_fails(
    secure: Secure, caplog: pytest.LogCaptureFixture
) -> None:
    registration_id = await secure.register()
    with secure.house.disk_fails("DELETE ON registration"):
        await secure.house.fleet.credentials.remove(secure.credential.id)
        await until(lambda: any(r.getMessage() == "commit failed" for r in caplog.records))
        assert secure.house.rows.registrations() == {"one": registration_id}
    await secure.house.told.change("one", "revoked")
    await secure.house.told.presence("one", "offline")
    assert secure.house.rows.registrations() == {}


async def test_nor_is_it_lost_on_a_disk_that_takes_no_writes_at_all(
    secure: Secure, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await secure.register()
    monkeypatch.setattr(writer_module, "RETRY_S", 0.2)
    with secure.house.disk_fails("INSERT ON credential"):
        with pytest.raises(StoreError):
            await secure.house.fleet.credentials.add_psk("three")
        secure.house.fleet._revoke("one")
        assert list(secure.house.told.bus)[-1].data.get("change") != "revoked"
    await secure.house.told.change("one", "revoked")
    assert secure.house.rows.registrations() == {}


async def test_the_last_credential_ends_it_whatever_it_rests_on(secure: Secure) -> None:
    """Its session was made by a key that has been replaced since, and no other has followed."""
    credentials = secure.house.fleet.credentials
    secure.house.store.put_session(kept_session(FIRST, secure.credential))
    await secure.register()
    new = await credentials.renew_psk("one")
    credentials.admit(new.proof)
    await until(lambda: [c.id for c in credentials.of("one")] == [new.id])
    await credentials.remove(new.id)
    await secure.house.told.change("one", "revoked")


async def test_a_replaced_credential_leaves_the_registration(secure: Secure) -> None:
    registration_id = await secure.register()
    new = await secure.house.fleet.credentials.renew_psk("one")
    secure.house.fleet.credentials.admit(new.proof)
    await until(lambda: [c.id for c in secure.house.fleet.credentials.of("one")] == [new.id])
    outcome = await secure.outcome(Action.UPDATE, SECOND, registration_id=registration_id)
    assert outcome == Reply(Success.CHANGED), "it shook hands anew, and goes on"


# Bootstrap


@dataclass(slots=True)
class Bootstrap:
    """Answers with whom it was asked for."""

    asked: list[str]

    def receive(self, endpoint: str, uplink: Uplink, respond: Respond) -> None:
        self.asked.append(endpoint)
        respond(Reply(Success.CHANGED))


@pytest.fixture
async def bootstrap(secure: Secure) -> Bootstrap:
    bootstrap = Bootstrap([])
    secure.house.fleet._intake.reactions.bootstrap = bootstrap.receive
    return bootstrap


@pytest.mark.parametrize("action", [Action.BOOTSTRAP, Action.BOOTSTRAP_PACK])
async def test_bootstrap_of_who_may(secure: Secure, bootstrap: Bootstrap, action: Action) -> None:
    secure.house.fleet.credentials.open_enrolment()
    for sender, query in (
        (FIRST, ()),
        (FIRST, ("ep=one",)),
        (plain(HOME), ("ep=plain",)),
        (ENROLLING, ("ep=new", "pct=112")),
    ):
        assert await secure.outcome(action, sender, query=query) == Reply(Success.CHANGED)
    assert bootstrap.asked == ["one", "one", "plain", "new"]


@pytest.mark.parametrize("action", [Action.BOOTSTRAP, Action.BOOTSTRAP_PACK])
@pytest.mark.parametrize(
    ("sender", "query", "code"),
    [
        (FIRST, ("ep=two",), "identity_refused"),
        (plain(HOME), ("ep=one",), "identity_refused"),
        (ENROLLING, ("ep=one",), "identity_refused"),
        (NOBODY, ("ep=new",), "identity_refused"),
        (ENROLLING, (), "endpoint_missing"),
        (plain(HOME), (), "endpoint_missing"),
        (ENROLLING, ("ep=a\nb",), "endpoint_invalid"),
        (FIRST, ("ep=one", "ep=one"), "query_invalid"),
    ],
)
async def test_bootstrap_of_who_may_not(
    secure: Secure, bootstrap: Bootstrap, action: Action, sender: Sender, query: tuple[str, ...], code: str
) -> None:
    secure.house.fleet.credentials.open_enrolment()
    assert code_of(await secure.outcome(action, sender, query=query)) == code
    assert bootstrap.asked == []


async def test_nobody_enrols_without_a_window(secure: Secure, bootstrap: Bootstrap) -> None:
    assert code_of(await secure.outcome(Action.BOOTSTRAP, ENROLLING, query=("ep=new",))) == "identity_refused"
    assert bootstrap.asked == []


# A restart


async def test_who_spoke_by_a_session_goes_on_by_it_after_a_restart(
    tmp_path: FilePath, clock: FakeClock
) -> None:
    async with a_house(tmp_path / "db", clock, FleetOptions(watch_list=())) as house:
        secure = Secure(house, await house.fleet.credentials.add_psk("one"))
        registration_id = await secure.register()
        await observed(house)
    async with a_house(tmp_path / "db", clock, FleetOptions(watch_list=())) as house:
        secure = Secure(house, house.fleet.credentials.of("one")[0])
        assert await secure.verdict(FIRST, 2) is Verdict.TAKEN
        outcome = await secure.outcome(Action.UPDATE, FIRST, registration_id=registration_id)
        assert outcome == Reply(Success.CHANGED)
        assert code_of(await house.outcome(house.register_request(links=BARE))) == "identity_refused"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE credential SET state = 'revoked'",
        "UPDATE registration SET session = ''",
    ],
    ids=["before the registration ended", "before the plain registration ended"],
)
async def test_what_a_crash_left_undone_is_done_at_the_start(
    tmp_path: FilePath, clock: FakeClock, change: str
) -> None:
    async with a_house(tmp_path / "db", clock) as house:
        secure = Secure(house, await house.fleet.credentials.add_psk("one"))
        await secure.register()
    await asyncio.to_thread(_change, tmp_path / "db", change)
    async with a_house(tmp_path / "db", clock) as house:
        await house.told.change("one", "revoked")
        assert house.rows.registrations() == {}


def _change(path: FilePath, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql)
        connection.commit()


async def test_a_refusal_is_no_error_of_ours(secure: Secure) -> None:
    outcome = await secure.house.outcome(secure.register_request(OTHER, "ep=one"))
    assert isinstance(outcome, PeerError)
    assert outcome.hint
