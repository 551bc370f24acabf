"""A key in the place of others: one commit, in which the name stays guarded and the old sessions end."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import UsageError
from flownexus_appliance.fleet.credentials import Credentials
from flownexus_appliance.fleet.ports import Admission, Proof, ProofKind
from tests.peer import until

from .conftest import House, Watched

OLD = bytes(range(16))
NEW = bytes(range(16, 32))
ONE = Proof(ProofKind.PSK, b"one")


@pytest.fixture
def house(quiet_house: House) -> House:
    return quiet_house


@pytest.fixture
def ended(credentials: Credentials) -> Iterator[list[str]]:
    """Endpoints whose registration has lost what it rested on; each rests on the identity `one`."""
    real = credentials.consequences
    found: list[str] = []
    credentials.consequences = replace(real, carries=lambda _, proof: proof == ONE, ended=found.append)
    yield found
    credentials.consequences = real


def states(house: House) -> list[tuple[bytes, str, bytes]]:
    return house.rows("SELECT identity, state, secret FROM credential ORDER BY id")


async def test_the_same_identity_gets_another_key(
    house: House, credentials: Credentials, watched: Watched, ended: list[str]
) -> None:
    old = await credentials.add_psk("one", b"one", OLD)
    watched.told.clear()
    with house.disk_held():
        putting = asyncio.create_task(
            credentials.replace_psk("one", b"one", NEW, {old.id}, label="by a script")
        )
        await until(lambda: credentials.admit(ONE) is None)
        assert credentials.has_any("one"), "nobody may take the name meanwhile"
        assert watched.told == [(ONE, None)], "the old key's sessions end, the new one is not on disk"
        assert ended == []
    new = await putting
    assert (new.label, new.secret) == ("by a script", NEW)
    assert watched.told == [(ONE, None), (ONE, NEW)]
    assert credentials.of("one") == (new,)
    assert credentials.admit(ONE) == Admission("one", new.id)
    assert ended == ["one"]
    assert states(house) == [(b"one", "replaced", b""), (b"one", "active", NEW)]


async def test_what_is_not_named_stays(
    house: House, credentials: Credentials, watched: Watched, ended: list[str]
) -> None:
    gone = await credentials.add_psk("one", b"other", OLD)
    stays = await credentials.add_psk("one", b"one", OLD)
    foreign = await credentials.add_psk("two", b"two", OLD)
    new = await credentials.replace_psk("one", b"third", NEW, {gone.id, foreign.id, 99})
    assert credentials.of("one") == (stays, new)
    assert credentials.of("two") == (foreign,), "of another endpoint nothing ends"
    assert ended == [], "its registration rests on what stays"
    assert set(watched.list) == {stays.proof, foreign.proof, new.proof}


async def test_an_identity_of_somebody_else(credentials: Credentials, watched: Watched) -> None:
    mine = await credentials.add_psk("one", b"one", OLD)
    theirs = await credentials.add_psk("two", b"two", OLD)
    with pytest.raises(UsageError) as caught:
        await credentials.replace_psk("one", b"two", NEW, {mine.id, theirs.id})
    assert caught.value.code == "identity_taken"
    assert credentials.all() == (mine, theirs)
    assert set(watched.list) == {mine.proof, theirs.proof}


@pytest.mark.parametrize(
    ("endpoint", "identity", "key", "code"),
    [
        ("", b"one", NEW, "endpoint_missing"),
        ("one", b"", NEW, "identity_invalid"),
        ("one", b"one", NEW[:8], "key_invalid"),
    ],
)
async def test_what_is_refused_ends_nothing(
    credentials: Credentials, endpoint: str, identity: bytes, key: bytes, code: str
) -> None:
    old = await credentials.add_psk("one", b"one", OLD)
    with pytest.raises(UsageError) as caught:
        await credentials.replace_psk(endpoint, identity, key, {old.id})
    assert caught.value.code == code
    assert NEW.hex() not in f"{caught.value} {caught.value.hint}"
    assert credentials.all() == (old,)


async def test_a_disk_that_fails_leaves_all_as_it_was(
    house: House, credentials: Credentials, watched: Watched, ended: list[str]
) -> None:
    old = await credentials.add_psk("one", b"one", OLD)
    with house.disk_fails("INSERT ON credential"), pytest.raises(StoreError):
        await credentials.replace_psk("one", b"one", NEW, {old.id})
    assert credentials.of("one") == (old,)
    assert credentials.admit(ONE) == Admission("one", old.id)
    assert watched.list == {ONE: OLD}
    assert ended == []
    assert states(house) == [(b"one", "active", OLD)]
