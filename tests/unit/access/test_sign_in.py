"""Signing in: by a password that is right, at the same cost for who is not there, slowly for who guesses."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from flownexus_appliance.access.passwords import AT_ONCE, MAX_WAITING
from flownexus_appliance.access.roles import CONSOLE, Role, Way
from flownexus_appliance.access.throttle import FREE, SignInThrottled
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import UsageError

from .conftest import ANNA, HERE, OTHER, OTTO, PASSWORD, THERE, VERA, Box, Client


async def refused(box: Box, name: str, password: str, client: Client = HERE) -> UsageError:
    with pytest.raises(UsageError) as caught:
        await box.access.sign_in(name, password, client, keep=False)
    return caught.value


async def test_who_knows_the_password_is_signed_in(house: Box) -> None:
    signed_in = await house.access.sign_in(" Otto", PASSWORD, HERE, keep=False)
    caller = signed_in.caller
    assert (caller.name, caller.role, caller.way, caller.user) == (OTTO, Role.OPERATOR, Way.SESSION, OTTO)
    assert caller.form_key
    assert not signed_in.kept
    assert len(signed_in.secret) >= 43
    assert signed_in.secret not in repr(signed_in)
    assert signed_in.secret.encode() not in house.path.read_bytes()
    assert house.access.caller_of_session(signed_in.secret, HERE) == caller
    assert (await house.sign_in(OTTO)).caller.form_key != caller.form_key


@pytest.mark.parametrize(
    ("name", "password"),
    [
        (ANNA, OTHER),
        (ANNA, PASSWORD.upper()),
        (ANNA, ""),
        (ANNA, PASSWORD + "\x00"),
        (ANNA, "x" * 2_000_000),
        (ANNA, "\ud800"),
        ("nobody.here", PASSWORD),
        ("", PASSWORD),
        ("anna/x", PASSWORD),
        ("console", PASSWORD),
        ("x" * 2_000_000, PASSWORD),
    ],
)
async def test_others_are_refused_in_the_same_words(house: Box, name: str, password: str) -> None:
    error = await refused(house, name, password)
    expected = await refused(house, ANNA, "something else", THERE)
    assert (error.code, error.message, error.hint) == (expected.code, expected.message, expected.hint)
    assert error.code == "sign_in_refused"
    assert house.access.sessions() == []


async def test_one_who_is_not_there_costs_what_a_wrong_password_costs(
    house: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    passwords: Any = house.access._passwords
    verify = passwords._verify

    def noted(kept: str, password: bytes) -> bool:
        checked.append(kept)
        return bool(verify(kept, password))

    monkeypatch.setattr(passwords, "_verify", noted)
    await refused(house, ANNA, OTHER)
    await refused(house, "nobody", OTHER)
    known, unknown = checked
    # $argon2id$v=19$m=8,t=1,p=1$salt$hash: the same work.
    assert known.split("$")[:4] == unknown.split("$")[:4]
    assert list(map(len, known.split("$"))) == list(map(len, unknown.split("$")))


@pytest.mark.parametrize("typed", ["Ma\u0308rchenwald 12", "M\u00e4rchenwald 12"])
async def test_letters_may_be_composed_in_either_way(house: Box, typed: str) -> None:
    await house.access.change_user(ANNA, password="Ma\u0308rchenwald 12")
    assert (await house.access.sign_in(ANNA, typed, HERE, keep=False)).caller.name == ANNA


async def test_old_hashes_are_made_anew_with_the_password_that_is_right(house: Box) -> None:
    before = house.rows("SELECT password_hash, changed_ms FROM user WHERE name = 'anna'")[0]
    house.passwords = (16, 2)
    await house.restart()
    await refused(house, ANNA, OTHER)
    assert house.rows("SELECT password_hash FROM user WHERE name = 'anna'")[0][0] == before[0]
    # Two at once: the second finds a hash that is not the one it has checked.
    await asyncio.gather(house.sign_in(), house.sign_in())
    after = house.rows("SELECT password_hash, changed_ms FROM user WHERE name = 'anna'")[0]
    assert after[0].startswith("$argon2id$v=19$m=16,t=2,p=1$")
    assert after[1] == before[1]
    await house.restart()
    await house.sign_in()
    assert house.rows("SELECT password_hash FROM user WHERE name = 'anna'")[0][0] == after[0]


async def test_a_hash_that_is_none_lets_nobody_in(house: Box) -> None:
    house.store.writer.gather().statements.append(("UPDATE user SET password_hash = 'x'", ()))
    await house.store.commit()
    await house.restart()
    assert (await refused(house, ANNA, PASSWORD)).code == "sign_in_refused"


async def test_guessing_gets_slow_and_nothing_is_checked_meanwhile(house: Box) -> None:
    for _ in range(FREE + 1):
        assert (await refused(house, ANNA, OTHER)).code == "sign_in_refused"
    error = await refused(house, ANNA, PASSWORD)
    assert isinstance(error, SignInThrottled)
    assert (error.code, error.wait_s) == ("sign_in_throttled", 1)
    assert "1 second" in error.hint
    house.clock.advance(1)
    assert (await house.sign_in()).caller.name == ANNA
    for _ in range(FREE):
        assert (await refused(house, ANNA, OTHER)).code == "sign_in_refused"
    assert (await house.sign_in()).caller.name == ANNA


async def test_of_many_tries_at_once_none_goes_first(house: Box) -> None:
    tries = [refused(house, ANNA, OTHER) for _ in range(10)]
    codes = [error.code for error in await asyncio.gather(*tries)]
    assert sorted(codes) == ["sign_in_refused"] * (FREE + 1) + ["sign_in_throttled"] * (9 - FREE)


async def test_who_is_signed_in_somewhere_is_not_kept_out_there(house: Box) -> None:
    await house.sign_in()
    for number in range(FREE + 5):
        await refused(house, ANNA, OTHER, Client(f"198.51.100.{number}"))
    # From where she never was, her account is slow; from where she is, it is not.
    assert (await refused(house, ANNA, PASSWORD, THERE)).code == "sign_in_throttled"
    assert (await house.sign_in()).caller.name == ANNA
    # And her getting it right is for all.
    assert (await house.sign_in(client=THERE)).caller.name == ANNA


async def test_names_that_nobody_has_slow_down_alike(house: Box) -> None:
    for number in range(FREE + 1):
        await refused(house, "nobody", OTHER, Client(f"198.51.100.{number}"))
    assert (await refused(house, "nobody", OTHER, HERE)).code == "sign_in_throttled"
    assert (await refused(house, "another", OTHER, HERE)).code == "sign_in_refused"


async def test_a_crowd_is_told_to_come_again(house: Box) -> None:
    tries = [
        refused(house, f"user{number}", OTHER, Client(f"10.0.0.{number}"))
        for number in range(MAX_WAITING + AT_ONCE + 5)
    ]
    codes = [error.code for error in await asyncio.gather(*tries)]
    assert codes.count("sign_in_throttled") == 5
    assert (await house.sign_in()).caller.name == ANNA


async def test_a_password_that_is_changed_during_the_check_is_the_old_one(house: Box) -> None:
    entering = asyncio.create_task(refused(house, ANNA, PASSWORD))
    await asyncio.sleep(0)
    user, changed = house.access._users.known(ANNA), house.access._with_password
    house.access._users.put(changed(user, user.password_hash))
    assert (await entering).code == "sign_in_refused"
    assert house.access.sessions() == []


async def test_a_role_that_is_changed_during_the_check_stays_changed(house: Box) -> None:
    entering = asyncio.create_task(house.sign_in(OTTO))
    await asyncio.sleep(0)
    house.access._users.put(replace(house.access._users.known(OTTO), role="viewer"))
    assert (await entering).caller.role is Role.VIEWER
    assert house.access.users()[1].role is Role.VIEWER


async def test_who_is_removed_during_the_check_stays_out(house: Box) -> None:
    entering = asyncio.create_task(refused(house, VERA, PASSWORD))
    await asyncio.sleep(0)
    house.access._users.drop(house.access._users.known(VERA).id)
    assert (await entering).code == "sign_in_refused"


async def test_a_disk_that_fails_begins_no_session(house: Box) -> None:
    house.fail_next()
    with pytest.raises(StoreError):
        await house.sign_in()
    assert house.access.sessions() == []
    await house.usable()
    signed_in = await house.sign_in()
    assert [one.id for one in house.access.sessions()] == [signed_in.caller.number]
    assert house.rows("SELECT count(*) FROM session") == [(1,)]


# Changing one's own password


async def wrong(box: Box, old: str, new: str, caller: Any) -> str:
    with pytest.raises(UsageError) as caught:
        await box.access.change_password(caller, old, new, HERE)
    assert PASSWORD not in caught.value.message + caught.value.hint
    return caught.value.code


async def test_who_changes_the_password_stays_signed_in_here_alone(house: Box) -> None:
    here, there = await house.sign_in(), await house.sign_in(client=THERE)
    vera = await house.sign_in(VERA)
    _, secret = await house.access.add_token(ANNA, "backup", Role.VIEWER, 0)
    house.clock.advance(5)
    await house.access.change_password(here.caller, PASSWORD, OTHER, HERE)
    assert house.access.caller_of_session(here.secret, HERE) is not None
    assert house.access.caller_of_session(there.secret, THERE) is None
    assert house.access.caller_of_session(vera.secret, HERE) is not None
    assert house.access.caller_of_token(secret) is not None
    assert (await refused(house, ANNA, PASSWORD)).code == "sign_in_refused"
    await house.restart()
    assert house.access.caller_of_session(here.secret, HERE) is not None
    assert (await house.access.sign_in(ANNA, OTHER, HERE, keep=False)).caller.name == ANNA
    assert house.access.users()[0].changed_ms == house.clock.wall_ms
    assert house.access.users()[0].made_ms == house.clock.wall_ms - 5000


async def test_what_changes_no_password(house: Box) -> None:
    caller = (await house.sign_in()).caller
    token, secret = await house.access.add_token(ANNA, "backup", Role.ADMIN, 0)
    program = house.access.caller_of_token(secret)
    assert await wrong(house, OTHER, OTHER, caller) == "password_wrong"
    assert await wrong(house, PASSWORD, "short", caller) == "password_weak"
    assert await wrong(house, PASSWORD, OTHER, CONSOLE) == "session_needed"
    assert await wrong(house, PASSWORD, OTHER, program) == "session_needed"
    await house.access.end_session(caller.number)
    assert await wrong(house, PASSWORD, OTHER, caller) == "session_needed"
    assert (await house.sign_in()).caller.name == ANNA
    assert token.name == "backup"


async def test_a_session_that_guesses_the_password_gets_slow(house: Box) -> None:
    caller = (await house.sign_in()).caller
    for _ in range(FREE + 1):
        assert await wrong(house, OTHER, OTHER, caller) == "password_wrong"
    assert await wrong(house, PASSWORD, OTHER, caller) == "sign_in_throttled"
    house.clock.advance(1)
    await house.access.change_password(caller, PASSWORD, OTHER, HERE)


async def test_who_guesses_elsewhere_keeps_nobody_from_changing_the_password(house: Box) -> None:
    caller = (await house.sign_in()).caller
    for _ in range(FREE + 1):
        await refused(house, ANNA, OTHER, THERE)
    assert (await refused(house, ANNA, OTHER, THERE)).code == "sign_in_throttled"
    await house.access.change_password(caller, PASSWORD, OTHER, HERE)


async def test_a_disk_that_fails_changes_no_password(house: Box) -> None:
    here, there = await house.sign_in(), await house.sign_in()
    house.fail_next()
    with pytest.raises(StoreError):
        await house.access.change_password(here.caller, PASSWORD, OTHER, HERE)
    assert house.access.caller_of_session(there.secret, HERE) is not None
    await house.usable()
    assert (await house.sign_in()).caller.name == ANNA
