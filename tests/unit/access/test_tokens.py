"""API tokens: a secret that is told once, with the lesser of two roles, until they expire."""

import pytest

from flownexus_appliance.access import access as access_module
from flownexus_appliance.access.roles import Role, Way
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import UsageError

from .conftest import ANNA, HERE, NOW_MS, OTTO, VERA, Box

DAY_MS = 86_400_000


async def refused(house: Box, user: str = ANNA, name: str = "backup", expires_ms: int = 0) -> str:
    with pytest.raises(UsageError) as caught:
        await house.access.add_token(user, name, Role.VIEWER, expires_ms)
    return caught.value.code


async def test_a_token_acts_in_its_users_name(house: Box) -> None:
    token, secret = await house.access.add_token(" Anna ", " home assistant ", Role.OPERATOR, 0)
    assert secret.startswith("fnx_")
    assert len(secret) >= 47
    assert (token.user, token.name, token.role, token.made_ms) == (
        ANNA,
        "home assistant",
        Role.OPERATOR,
        NOW_MS,
    )
    assert (token.expires_ms, token.used_ms) == (0, 0)
    caller = house.access.caller_of_token(secret)
    assert caller is not None
    assert (caller.name, caller.user, caller.role) == ("anna/home assistant", ANNA, Role.OPERATOR)
    assert (caller.way, caller.number, caller.form_key) == (Way.TOKEN, token.id, b"")
    assert house.access.caller_of_session(secret, HERE) is None
    ((kept,),) = house.rows("SELECT secret_hash FROM api_token")
    for wrong in (
        "",
        "fnx_",
        secret[:-1],
        secret.upper(),
        secret[4:],
        kept.hex(),
        "fnx_\ud800",
        "fnx_" * 9999,
    ):
        assert house.access.caller_of_token(wrong) is None
    await house.stop()
    assert secret.encode() not in house.path.read_bytes()
    await house.start()


async def test_it_never_may_more_than_its_user(house: Box) -> None:
    token, _ = await house.access.add_token(VERA, "script", Role.ADMIN, 0)
    assert token.role is Role.VIEWER
    _, secret = await house.access.add_token(OTTO, "script", Role.OPERATOR, 0)
    for role, expected in ((Role.VIEWER, Role.VIEWER), (Role.ADMIN, Role.OPERATOR)):
        await house.access.change_user(OTTO, role=role)
        caller = house.access.caller_of_token(secret)
        assert caller is not None
        assert caller.role is expected


async def test_it_holds_until_it_expires(house: Box) -> None:
    token, secret = await house.access.add_token(ANNA, "backup", Role.VIEWER, NOW_MS + DAY_MS)
    house.clock.advance(DAY_MS / 1000 - 1)
    caller = house.access.caller_of_token(secret)
    assert caller is not None
    assert house.access.holds(caller)
    await house.restart()
    assert house.access.tokens()[0].used_ms == house.clock.wall_ms
    house.clock.advance(1)
    assert house.access.caller_of_token(secret) is None
    assert not house.access.holds(caller)
    # It is listed until somebody removes it.
    assert [one.id for one in house.access.tokens(ANNA)] == [token.id]
    house.clock.advance(-1)
    await house.access.change_user(ANNA, role=Role.ADMIN)
    assert house.access.holds(caller)


async def test_what_holds_follows_the_users_role(house: Box) -> None:
    _, secret = await house.access.add_token(OTTO, "backup", Role.OPERATOR, 0)
    caller = house.access.caller_of_token(secret)
    assert caller is not None
    await house.access.change_user(OTTO, role=Role.VIEWER)
    assert not house.access.holds(caller)


async def test_tokens_that_cannot_be(house: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.access.add_token(ANNA, "backup", Role.VIEWER, 0)
    assert await refused(house) == "token_taken"
    assert await refused(house, user="nora") == "user_unknown"
    assert await refused(house, name="<b>") == "token_name_invalid"
    assert await refused(house, name="late", expires_ms=NOW_MS) == "expiry_past"
    assert await refused(house, name="late", expires_ms=-1) == "expiry_past"
    await house.access.add_token(OTTO, "backup", Role.VIEWER, 0)
    # By a clock that woke in 1970 it would have expired as soon as the clock is right.
    house.clock.wall_ms, right = 86_400_000, house.clock.wall_ms
    assert await refused(house, name="early", expires_ms=366 * 86_400_000) == "clock_untrusted"
    await house.access.add_token(VERA, "early", Role.VIEWER, 0)
    house.clock.wall_ms = right
    monkeypatch.setattr(access_module, "MAX_A_USER", 2)
    await house.access.add_token(ANNA, "second", Role.VIEWER, 0)
    assert await refused(house, name="third") == "token_limit"


async def test_they_are_listed_by_user_and_name_and_removed(house: Box) -> None:
    made = {}
    for user, name in ((OTTO, "b"), (ANNA, "z"), (OTTO, "a"), (ANNA, "c")):
        made[user, name] = await house.access.add_token(user, name, Role.VIEWER, 0)
    listed = [(one.user, one.name) for one in house.access.tokens()]
    assert listed == [(ANNA, "c"), (ANNA, "z"), (OTTO, "a"), (OTTO, "b")]
    assert [one.name for one in house.access.tokens(OTTO)] == ["a", "b"]
    token, secret = made[OTTO, "a"]
    caller = house.access.caller_of_token(secret)
    assert caller is not None
    await house.access.remove_token(token.id)
    assert house.access.caller_of_token(secret) is None
    assert not house.access.holds(caller)
    for number in (token.id, 0, 10**15):
        with pytest.raises(UsageError) as caught:
            await house.access.remove_token(number)
        assert caught.value.code == "token_unknown"
    await house.restart()
    assert [one.name for one in house.access.tokens(OTTO)] == ["b"]
    assert house.access.caller_of_token(made[OTTO, "b"][1]) is not None
    # The name is free again, and the number is another one.
    again, _ = await house.access.add_token(OTTO, "a", Role.VIEWER, 0)
    assert again.id not in {one.id for one, _ in made.values()} - {token.id}


async def test_a_disk_that_fails_makes_and_removes_none(house: Box) -> None:
    token, secret = await house.access.add_token(ANNA, "backup", Role.VIEWER, 0)
    house.fail_next()
    with pytest.raises(StoreError):
        await house.access.add_token(ANNA, "second", Role.VIEWER, 0)
    await house.usable()
    house.fail_next()
    with pytest.raises(StoreError):
        await house.access.remove_token(token.id)
    await house.usable()
    assert [one.name for one in house.access.tokens()] == ["backup"]
    assert house.access.caller_of_token(secret) is not None
    await house.restart()
    assert [one.name for one in house.access.tokens()] == ["backup"]
