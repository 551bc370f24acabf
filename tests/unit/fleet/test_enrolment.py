"""The enrolment window: who may come in by it, under which name, and for how long."""

import asyncio

import pytest

from flownexus_appliance.db.credentials import Credential, CredentialOrigin
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import PeerError, UsageError
from flownexus_appliance.fleet.credentials import Credentials
from flownexus_appliance.fleet.enrolment import MAX_DEVICES, PROOF
from flownexus_appliance.fleet.ports import Admission
from tests.peer import until

from .conftest import House, Watched
from .test_credentials import code_of, psk, states


@pytest.fixture
def house(quiet_house: House) -> House:
    return quiet_house


async def test_the_window_lets_its_key_in_for_its_time(
    house: House, credentials: Credentials, watched: Watched
) -> None:
    assert credentials.enrolment() is None
    assert not credentials.may_enrol("one")
    window = credentials.open_enrolment()
    assert (window.identity, len(window.key)) == (b"enrol", 16)
    assert window.ends_ms == house.clock.wall_ms + 600_000
    assert credentials.enrolment() is window
    assert watched.list == {PROOF: window.key}
    assert credentials.admit(PROOF) == Admission(None, 0)
    house.clock.advance(599)
    assert credentials.may_enrol("one")
    house.clock.advance(2)
    await until(lambda: credentials.enrolment() is None)
    assert watched.list == {}
    assert credentials.admit(PROOF) is None
    assert [e.data["open"] for e in house.told.bus if e.name == "enrolment"] == [True, False]
    assert house.rows("SELECT * FROM credential") == [], "its key is written nowhere"


async def test_each_window_has_its_own_key(credentials: Credentials, watched: Watched) -> None:
    first = credentials.open_enrolment()
    second = credentials.open_enrolment(60)
    assert first.key != second.key
    assert watched.told == [(PROOF, first.key), (PROOF, None), (PROOF, second.key)]
    credentials.close_enrolment()
    credentials.close_enrolment()
    assert watched.told[3:] == [(PROOF, None)]


@pytest.mark.parametrize("duration_s", [0.0, -1.0, 9.9, 86_401.0, float("nan"), float("inf")])
async def test_a_window_has_bounds(credentials: Credentials, duration_s: float) -> None:
    with pytest.raises(UsageError) as caught:
        credentials.open_enrolment(duration_s)
    assert code_of(caught) == "duration_invalid"
    assert credentials.enrolment() is None


async def test_a_device_enrols_once(house: House, credentials: Credentials, watched: Watched) -> None:
    credentials.open_enrolment()
    made = await credentials.enrol("one")
    assert (made.origin, made.proof) == (CredentialOrigin.ENROLMENT, psk(b"one"))
    assert credentials.may_enrol("one"), "it may have failed half-way"
    credentials.admit(made.proof)
    assert not credentials.may_enrol("one")
    with pytest.raises(PeerError) as caught:
        await credentials.enrol("one")
    assert caught.value.code == "identity_refused"
    assert credentials.may_enrol("two")


async def test_who_failed_half_way_gets_another_key(
    house: House, credentials: Credentials, watched: Watched
) -> None:
    credentials.open_enrolment()
    first = await credentials.enrol("one")
    second = await credentials.enrol("one")
    assert first.secret != second.secret
    assert first.proof == second.proof
    assert watched.told[1:] == [
        (first.proof, first.secret),
        (first.proof, None),
        (first.proof, second.secret),
    ]
    assert credentials.of("one") == (second,)
    assert states(house) == [(first.id, "replaced"), (second.id, "active")]


async def test_enrolling_again_that_the_disk_does_not_take(
    house: House, credentials: Credentials, watched: Watched
) -> None:
    credentials.open_enrolment()
    first = await credentials.enrol("one")
    with house.disk_fails("INSERT ON credential"):
        with pytest.raises(StoreError):
            await credentials.enrol("one")
        assert credentials.of("one") == (first,)
        assert credentials.admit(first.proof) is not None
    await house.healed()


async def test_a_name_with_a_credential_cannot_be_enrolled(house: House, credentials: Credentials) -> None:
    await credentials.add_psk("operator's")
    credentials.open_enrolment()
    await credentials.enrol("earlier window's")
    credentials.open_enrolment()
    leaving = await credentials.enrol("leaving")
    with house.disk_held():
        removing = asyncio.create_task(credentials.remove(leaving.id))
        await until(lambda: house.store.writer._in_flight is not None)
        assert not credentials.may_enrol("leaving")
    await removing
    assert credentials.may_enrol("leaving")
    for endpoint in ("operator's", "earlier window's"):
        assert not credentials.may_enrol(endpoint)
        with pytest.raises(PeerError):
            await credentials.enrol(endpoint)


async def test_two_at_once_with_one_name(house: House, credentials: Credentials, watched: Watched) -> None:
    credentials.open_enrolment()
    results = await asyncio.gather(credentials.enrol("one"), credentials.enrol("one"), return_exceptions=True)
    assert [type(result) for result in results] == [Credential, PeerError]


async def test_a_window_takes_so_many_devices(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flownexus_appliance.fleet.enrolment.MAX_DEVICES", 3)
    assert MAX_DEVICES > 3
    credentials.open_enrolment()
    for number in range(3):
        for _ in range(3):
            await credentials.enrol(f"device {number}")
    assert not credentials.may_enrol("device 3")
    assert credentials.may_enrol("device 0")
    credentials.open_enrolment()
    assert credentials.may_enrol("device 3")
