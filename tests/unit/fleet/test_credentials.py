"""Credentials: nothing is let in before it is on disk, and nothing stays in that was taken away."""

import asyncio
import logging
from pathlib import Path as FilePath
from typing import Any

import pytest

from flownexus_appliance.db.credentials import Credential, CredentialOrigin, CredentialState
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import UsageError
from flownexus_appliance.fleet.credentials import MAX_OFFERED, Credentials
from flownexus_appliance.fleet.enrolment import PROOF
from flownexus_appliance.fleet.ports import Admission, Proof, ProofKind
from tests.conftest import FakeClock
from tests.peer import until

from .conftest import House, Watched, a_house

KEY = bytes(range(16))
FINGERPRINT = bytes(range(32))


def psk(identity: bytes) -> Proof:
    return Proof(ProofKind.PSK, identity)


@pytest.fixture
def house(quiet_house: House) -> House:
    return quiet_house


def states(house: House) -> list[tuple[int, str]]:
    return house.rows("SELECT id, state FROM credential ORDER BY id")


def changes(house: House) -> list[tuple[int, str]]:
    return [(e.data["credential_id"], e.data["change"]) for e in house.told.bus if e.name == "credential"]


async def certificate(
    credentials: Credentials, number: int, endpoint: str = "one", **more: Any
) -> Credential:
    return await credentials.add_certificate(
        endpoint, b"DER", bytes([number]) * 32, number, 2_000_000_000_000, **more
    )


def code_of(caught: "pytest.ExceptionInfo[UsageError]") -> str:
    assert caught.value.hint
    return caught.value.code


# In


async def test_a_key_is_let_in_once_it_is_on_disk(
    house: House, credentials: Credentials, watched: Watched
) -> None:
    with house.disk_held():
        adding = asyncio.create_task(credentials.add_psk("one"))
        await until(lambda: house.store.writer._in_flight is not None)
        assert not adding.done()
        assert watched.told == []
        assert credentials.admit(psk(b"one")) is None
        assert not credentials.has_any("one")
    made = await adding
    assert (made.endpoint, made.proof, made.state, made.origin) == (
        "one", psk(b"one"), CredentialState.ACTIVE, CredentialOrigin.OPERATOR,
    )  # fmt: skip
    assert len(made.secret) == 16
    assert watched.told == [(psk(b"one"), made.secret)]
    assert credentials.secrets() == {psk(b"one"): made.secret}
    assert credentials.of("one") == credentials.all() == (made,)
    assert credentials.get(made.id) is made
    assert credentials.has_any("one")
    assert house.rows("SELECT endpoint, identity, secret FROM credential") == [("one", b"one", made.secret)]
    assert changes(house) == [(made.id, "added")]


async def test_a_certificate_is_let_in_by_its_fingerprint(
    house: House, credentials: Credentials, watched: Watched
) -> None:
    made = await credentials.add_certificate("one", b"DER", FINGERPRINT, 12345, 99, label="roof")
    assert watched.list == {Proof(ProofKind.CERTIFICATE, FINGERPRINT): b""}
    assert credentials.admit(made.proof) == Admission("one", made.id)
    assert house.rows("SELECT certificate, serial, not_after_ms, label FROM credential") == [
        (b"DER", "3039", 99, "roof")
    ]


async def test_generated_keys_differ(credentials: Credentials) -> None:
    keys = {(await credentials.add_psk(f"device {n}")).secret for n in range(20)}
    assert len(keys) == 20


async def test_a_key_of_the_operators_own(credentials: Credentials, watched: Watched) -> None:
    made = await credentials.add_psk("one", b"\xff\x00", bytes(48), label="old stock")
    assert watched.list == {psk(b"\xff\x00"): bytes(48)}
    assert made.label == "old stock"


@pytest.mark.parametrize(
    ("endpoint", "identity", "key", "code"),
    [
        ("", None, None, "endpoint_missing"),
        (" one", None, None, "endpoint_invalid"),
        ("a\nb", None, None, "endpoint_invalid"),
        ("x" * 256, None, None, "endpoint_invalid"),
        ("one", b"", None, "identity_invalid"),
        ("one", bytes(129), None, "identity_invalid"),
        ("one", b"enrol", None, "identity_taken"),
        ("one", None, b"", "key_invalid"),
        ("one", None, bytes(15), "key_invalid"),
        ("one", None, bytes(49), "key_invalid"),
    ],
)
async def test_what_cannot_be_a_key(
    house: House, credentials: Credentials, endpoint: str, identity: bytes, key: bytes, code: str
) -> None:
    with pytest.raises(UsageError) as caught:
        await credentials.add_psk(endpoint, identity, key)
    assert code_of(caught) == code
    assert states(house) == []


@pytest.mark.parametrize(("der", "fingerprint"), [(b"", FINGERPRINT), (b"DER", bytes(31)), (b"DER", b"")])
async def test_what_cannot_be_a_certificate(credentials: Credentials, der: bytes, fingerprint: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        await credentials.add_certificate("one", der, fingerprint, 1, 0)
    assert code_of(caught) == "certificate_invalid"


async def test_a_proof_stands_for_one_device(house: House, credentials: Credentials) -> None:
    await credentials.add_psk("one", b"shared")
    await certificate(credentials, 1)
    with pytest.raises(UsageError) as caught:
        await credentials.add_psk("two", b"shared")
    assert code_of(caught) == "identity_taken"
    assert "one" in caught.value.message
    with pytest.raises(UsageError) as caught:
        await certificate(credentials, 1, "two")
    assert code_of(caught) == "identity_taken"
    assert not credentials.has_any("two")


async def test_of_two_who_want_a_proof_at_once_one_has_it(
    house: House, credentials: Credentials, watched: Watched
) -> None:
    results = await asyncio.gather(
        credentials.add_psk("one", b"same"), credentials.add_psk("two", b"same"), return_exceptions=True
    )
    assert [type(result) for result in results] == [Credential, UsageError]
    assert len(states(house)) == 1


async def test_an_identity_is_the_name_while_that_is_free(credentials: Credentials) -> None:
    await credentials.add_psk("two", b"one-2")
    identities = [(await credentials.add_psk("one")).proof.value for _ in range(3)]
    assert identities == [b"one", b"one-3", b"one-4"]
    assert (await credentials.add_psk("enrol")).proof.value == b"enrol-2"
    long = await credentials.add_psk("ü" * 127)
    assert len(long.proof.value) == 16, "no identity could hold that name"


async def test_a_key_that_is_not_taken_by_the_disk_is_not_let_in(
    house: House, credentials: Credentials, watched: Watched
) -> None:
    with house.disk_fails("INSERT ON credential"):
        with pytest.raises(StoreError):
            await credentials.add_psk("one")
        assert watched.told == []
        assert not credentials.has_any("one")
        with pytest.raises(StoreError):
            await credentials.add_psk("one")  # refused by the store at once now
    await house.healed()
    made = await credentials.add_psk("one")
    assert made.proof == psk(b"one"), "the identity did not stay taken"
    assert states(house) == [(made.id, "active")]


async def test_who_waits_may_give_up(house: House, credentials: Credentials, watched: Watched) -> None:
    """The browser went away: the disk has the key, so it must be in the list too."""
    with house.disk_held():
        adding = asyncio.create_task(credentials.add_psk("one"))
        await until(lambda: house.store.writer._in_flight is not None)
        adding.cancel()
    await until(lambda: credentials.has_any("one"))
    assert adding.cancelled()
    assert list(watched.list) == [psk(b"one")]


async def test_no_key_in_logs_events_and_reprs(
    house: House, credentials: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = await credentials.add_psk("one", None, KEY)
    window = credentials.open_enrolment()
    credentials.admit(made.proof)
    await credentials.remove(made.id)
    said = repr([made, window, list(house.told.bus), [record.__dict__ for record in caplog.records]])
    for secret in (KEY, window.key):
        assert secret.hex() not in said
        assert repr(secret)[2:-1] not in said
    (added, *_) = [r for r in caplog.records if r.getMessage() == "credential changed"]
    assert (added.__dict__["ENDPOINT"], added.__dict__["CREDENTIAL_ID"]) == ("one", made.id)


# Out


async def test_a_removed_key_is_out_before_the_disk_knows(
    house: House, credentials: Credentials, watched: Watched
) -> None:
    made = await credentials.add_psk("one")
    with house.disk_held():
        removing = asyncio.create_task(credentials.remove(made.id))
        await until(lambda: house.store.writer._in_flight is not None)
        assert watched.list == {}
        assert credentials.admit(made.proof) is None
        assert credentials.has_any("one"), "until it is on disk the name is not free"
    await removing
    assert states(house) == [(made.id, "revoked")]
    assert house.rows("SELECT secret, ended_ms FROM credential") == [(b"", house.clock.wall_ms)]
    assert not credentials.has_any("one")
    assert changes(house) == [(made.id, "added"), (made.id, "revoked")]
    with pytest.raises(UsageError) as caught:
        await credentials.remove(made.id)
    assert code_of(caught) == "credential_unknown"


async def test_a_removal_that_the_disk_does_not_take_is_undone(
    house: House, credentials: Credentials, watched: Watched
) -> None:
    made = await credentials.add_psk("one")
    with house.disk_fails("UPDATE ON credential"):
        with pytest.raises(StoreError):
            await credentials.remove(made.id)
        assert watched.told[1:] == [(made.proof, None), (made.proof, made.secret)]
        with pytest.raises(StoreError):
            await credentials.remove(made.id)  # refused by the store at once now
        assert credentials.of("one") == (made,)
        assert credentials.admit(made.proof) == Admission("one", made.id)
    await house.healed()
    await credentials.remove(made.id)
    assert states(house) == [(made.id, "revoked")]
    assert watched.list == {}


async def test_a_credential_is_removed_once(house: House, credentials: Credentials) -> None:
    made = await credentials.add_psk("one")
    results = await asyncio.gather(
        credentials.remove(made.id), credentials.remove(made.id), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), UsageError]


async def test_all_of_an_endpoint(house: House, credentials: Credentials, watched: Watched) -> None:
    await credentials.add_psk("one")
    await certificate(credentials, 1)
    other = await credentials.add_psk("two")
    assert await credentials.remove_endpoint("one") == 2
    assert credentials.all() == (other,)
    assert await credentials.remove_endpoint("one") == 0
    assert [state for _, state in states(house)] == ["revoked", "revoked", "active"]


async def test_an_identity_that_was_given_back_can_be_had(
    house: House, credentials: Credentials, watched: Watched
) -> None:
    made = await credentials.add_psk("one", b"id")
    with house.disk_held():
        removing = asyncio.create_task(credentials.remove(made.id))
        await until(lambda: house.store.writer._in_flight is not None)
        adding = asyncio.create_task(credentials.add_psk("two", b"id"))
    await asyncio.gather(removing, adding)
    assert credentials.admit(psk(b"id")) == Admission("two", adding.result().id)


# A device that was never seen


async def test_a_device_that_was_never_seen_is_offline_and_goes_with_its_credential(
    house: House, credentials: Credentials
) -> None:
    made = await credentials.add_psk("one")
    assert house.fleet.presence("one") == "offline"
    assert house.fleet.heard_ms("one") is None
    assert house.fleet.counts() == {"online": 0, "sleeping": 0, "offline": 1}
    assert house.rows("SELECT name, first_seen_ms FROM endpoint") == [("one", 0)]
    await credentials.remove(made.id)
    assert house.fleet.counts()["offline"] == 0
    assert house.rows("SELECT * FROM endpoint") == []


async def test_it_stays_while_another_of_its_credentials_is_there_or_comes(
    house: House, credentials: Credentials
) -> None:
    first = await credentials.add_psk("one")
    second = await credentials.add_psk("one")
    await credentials.remove(first.id)
    assert house.rows("SELECT name FROM endpoint") == [("one",)]
    with house.disk_held():
        adding = asyncio.create_task(certificate(credentials, 1))
        await until(lambda: house.store.writer._in_flight is not None)
        removing = asyncio.create_task(credentials.remove(second.id))
    await asyncio.gather(adding, removing)
    assert house.rows("SELECT name FROM endpoint") == [("one",)]
    assert house.fleet.counts()["offline"] == 1


# Uses


async def test_uses_are_written_at_most_once_a_minute(house: House, credentials: Credentials) -> None:
    made = await credentials.add_psk("one")
    started = house.clock.wall_ms
    credentials.admit(made.proof)
    await until(lambda: house.rows("SELECT first_used_ms, last_used_ms FROM credential") == [(started,) * 2])
    commits = house.store.writer.commits
    for _ in range(5):
        house.clock.advance(5)
        credentials.admit(made.proof)
    later = house.clock.wall_ms
    assert credentials.of("one")[0].last_used_ms == later
    await house.store.commit()
    assert house.store.writer.commits == commits
    house.clock.advance(40)
    await until(
        lambda: house.rows("SELECT first_used_ms, last_used_ms FROM credential") == [(started, later)]
    )
    assert changes(house)[1:] == [(made.id, "first_used")]


async def test_uses_since_the_last_minute_are_written_at_the_end(
    tmp_path: FilePath, clock: FakeClock
) -> None:
    async with a_house(tmp_path / "db", clock) as house:
        made = await house.fleet.credentials.add_psk("one")
        house.fleet.credentials.admit(made.proof)
        clock.advance(7)
        house.fleet.credentials.admit(made.proof)
    assert house.rows("SELECT last_used_ms - first_used_ms FROM credential") == [(7000,)]


async def test_a_proof_that_nobody_has(credentials: Credentials) -> None:
    await credentials.add_psk("one")
    assert credentials.admit(psk(b"two")) is None
    assert credentials.admit(Proof(ProofKind.CERTIFICATE, b"one")) is None
    assert credentials.admit(PROOF) is None
    with pytest.raises(UsageError) as caught:
        credentials.get(99)
    assert code_of(caught) == "credential_unknown"


# Renewal


async def test_a_renewed_key_takes_the_place_of_the_others_when_it_is_used(
    house: House, credentials: Credentials, watched: Watched
) -> None:
    old = await credentials.add_psk("one")
    older = await credentials.add_psk("one", b"older")
    stays = await certificate(credentials, 1)
    other = await credentials.add_psk("two")
    new = await credentials.renew_psk("one")
    assert (new.state, new.origin) == (CredentialState.OFFERED, CredentialOrigin.BOOTSTRAP)
    assert await credentials.renew_psk("one") == new, "a device that failed half-way gets it again"
    assert credentials.admit(old.proof) is not None, "the device may not have it yet"
    assert credentials.admit(new.proof) == Admission("one", new.id)
    await until(lambda: [c.id for c in credentials.of("one")] == [stays.id, new.id])
    assert credentials.get(new.id).state is CredentialState.ACTIVE
    assert set(watched.list) == {stays.proof, new.proof, other.proof}
    assert states(house) == [
        (old.id, "replaced"), (older.id, "replaced"), (stays.id, "active"), (other.id, "active"),
        (new.id, "active"),
    ]  # fmt: skip
    assert await credentials.renew_psk("one") != new


async def test_one_that_was_offered_later_stays_when_an_earlier_one_is_used(credentials: Credentials) -> None:
    first = await certificate(credentials, 1, state=CredentialState.OFFERED)
    second = await certificate(credentials, 2, state=CredentialState.OFFERED)
    credentials.admit(first.proof)
    await until(lambda: credentials.get(first.id).state is CredentialState.ACTIVE)
    credentials.admit(second.proof)
    await until(lambda: [c.id for c in credentials.of("one")] == [second.id])


async def test_a_renewed_certificate_takes_the_place_of_certificates(credentials: Credentials) -> None:
    key = await credentials.add_psk("one")
    await certificate(credentials, 1)
    new = await certificate(credentials, 2, state=CredentialState.OFFERED)
    credentials.admit(new.proof)
    await until(lambda: [c.id for c in credentials.of("one")] == [key.id, new.id])


async def test_one_that_is_active_from_the_start_replaces_nobody(credentials: Credentials) -> None:
    first = await credentials.add_psk("one")
    second = await credentials.add_psk("one")
    credentials.admit(second.proof)
    credentials.admit(first.proof)
    await until(lambda: all(c.first_used_ms for c in credentials.of("one")))
    assert len(credentials.of("one")) == 2


async def test_a_first_use_that_the_disk_does_not_take_is_written_later(
    house: House, credentials: Credentials, watched: Watched
) -> None:
    old = await credentials.add_psk("one")
    new = await credentials.renew_psk("one")
    with house.disk_fails("UPDATE ON credential"):
        assert credentials.admit(new.proof) == Admission("one", new.id)
        assert old.proof not in watched.list
        await until(lambda: old.proof in watched.list)
        assert credentials.admit(old.proof) is not None, "it is still good on disk"
        assert credentials.admit(new.proof) is not None
    await until(lambda: [c.id for c in credentials.of("one")] == [new.id])
    assert states(house) == [(old.id, "replaced"), (new.id, "active")]
    assert house.rows("SELECT first_used_ms > 0 FROM credential WHERE id = ?", new.id) == [(1,)]


async def test_one_that_is_used_while_it_is_removed_stays_removed(
    house: House, credentials: Credentials
) -> None:
    made = await credentials.add_psk("one")
    credentials.admit(made.proof)
    used_ms = house.clock.wall_ms
    house.clock.advance(1)
    credentials.admit(made.proof)
    with house.disk_held():
        removing = asyncio.create_task(credentials.remove(made.id))
        await until(lambda: credentials.admit(made.proof) is None)
        credentials._first_uses.add(made.id)  # as if the disk had not taken it
        credentials.tick(house.clock())
    await removing
    house.clock.advance(120)
    await until(lambda: not credentials._uses)
    await house.store.commit()
    assert states(house) == [(made.id, "revoked")]
    assert house.rows("SELECT first_used_ms FROM credential") == [(used_ms,)]


async def test_certificates_that_no_device_ever_took_do_not_pile_up(
    house: House, credentials: Credentials, watched: Watched
) -> None:
    """A modem that bootstraps at each start asks for a new one each time."""
    active = await certificate(credentials, 0)
    for number in range(1, 11):
        await certificate(credentials, number, state=CredentialState.OFFERED)
    left = credentials.of("one")
    assert [c.serial for c in left] == [0, *range(11 - MAX_OFFERED, 11)]
    assert left[0] == active
    assert len(watched.list) == 1 + MAX_OFFERED


# A restart


async def test_credentials_outlive_a_restart_and_a_window_does_not(
    tmp_path: FilePath, clock: FakeClock
) -> None:
    async with a_house(tmp_path / "db", clock) as house:
        credentials = house.fleet.credentials
        kept = [
            await credentials.add_psk("one"),
            await certificate(credentials, 1),
            await credentials.renew_psk("two"),
        ]
        gone = await credentials.add_psk("three")
        await credentials.remove(gone.id)
        credentials.open_enrolment()
    async with a_house(tmp_path / "db", clock) as house:
        credentials = house.fleet.credentials
        assert credentials.all() == tuple(kept)
        assert credentials.secrets() == {c.proof: c.secret for c in kept}
        assert credentials.enrolment() is None
        assert (await credentials.add_psk("one")).id == gone.id + 1
        assert house.fleet.counts()["offline"] == 2
        assert house.fleet.heard_ms("one") is None
