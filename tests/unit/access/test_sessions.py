"""Sessions: idle and absolute ends, over restarts and wrong clocks; used, and seldom written down."""

import pytest

from flownexus_appliance.access import sessions as sessions_module
from flownexus_appliance.access.roles import CONSOLE, Caller, Role, Way
from flownexus_appliance.access.sessions import IDLE_MS, KEPT_IDLE_MS, KEPT_LIFE_MS, LIFE_MS
from flownexus_appliance.access.uses import EVERY_S
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import UsageError

from .conftest import ANNA, HERE, NOW_MS, OTTO, THERE, VERA, Box, Client

SECOND_MS = 1000


async def test_one_that_is_idle_ends(house: Box) -> None:
    for keep, idle_ms in ((False, IDLE_MS), (True, KEPT_IDLE_MS)):
        signed_in = await house.sign_in(keep=keep)
        house.clock.advance(idle_ms / 1000 - 1)
        assert house.access.caller_of_session(signed_in.secret, HERE) is not None
        assert house.access.sessions(ANNA)[0].ends_ms == house.clock.wall_ms + idle_ms
        house.clock.advance(idle_ms / 1000)
        assert house.access.caller_of_session(signed_in.secret, HERE) is None
        assert not house.access.holds(signed_in.caller)
        assert house.access.sessions() == []


async def test_one_that_is_used_all_the_time_ends_too(house: Box) -> None:
    for keep, idle_ms, life_ms in ((False, IDLE_MS, LIFE_MS), (True, KEPT_IDLE_MS, KEPT_LIFE_MS)):
        signed_in = await house.sign_in(keep=keep)
        ends_ms = house.clock.wall_ms + life_ms
        # By a page that stays open: what it shows goes on for as long as the session holds.
        while house.clock.wall_ms + idle_ms // 2 < ends_ms:
            assert house.access.holds(signed_in.caller)
            house.clock.advance(idle_ms / 2000)
        assert house.access.holds(signed_in.caller)
        assert house.access.sessions()[0].ends_ms == ends_ms
        house.clock.advance((ends_ms - house.clock.wall_ms) / 1000 - 1)
        assert house.access.caller_of_session(signed_in.secret, HERE) is not None
        house.clock.advance(1)
        assert house.access.caller_of_session(signed_in.secret, HERE) is None


async def test_they_go_on_after_a_restart(house: Box) -> None:
    kept, other = await house.sign_in(keep=True), await house.sign_in(OTTO, THERE)
    house.clock.advance(100)
    house.access.caller_of_session(kept.secret, Client("203.0.113.5", "Safari"))
    before = house.access.sessions()
    for go in (house.restart, house.crash):
        await go()
        assert house.access.sessions() == before
    assert house.access.caller_of_session(kept.secret, HERE) == kept.caller
    assert house.access.caller_of_session(other.secret, HERE) == other.caller
    (one, two) = before
    assert (one.user, one.kept, one.address, one.agent) == (ANNA, True, "203.0.113.5", "Safari")
    assert (one.made_ms, one.used_ms, one.ends_ms) == (
        NOW_MS,
        NOW_MS + 100_000,
        NOW_MS + 100_000 + KEPT_IDLE_MS,
    )
    assert (two.user, two.kept, two.address, two.used_ms) == (OTTO, False, THERE.address, NOW_MS)


async def test_the_secret_is_in_the_cookie_alone(house: Box) -> None:
    signed_in = await house.sign_in()
    ((kept,),) = house.rows("SELECT secret_hash FROM session")
    assert len(kept) == 32
    assert signed_in.secret.encode() != kept
    assert signed_in.caller.form_key not in (kept, signed_in.secret.encode())
    for secret in ("", kept.hex(), signed_in.secret[:-1], signed_in.secret + "x", "\ud800", "x" * 100_000):
        assert house.access.caller_of_session(secret, HERE) is None
    assert house.access.caller_of_token(signed_in.secret) is None


async def test_uses_are_written_down_now_and_then(house: Box) -> None:
    signed_in = await house.sign_in()
    await house.store.commit()
    house.access.caller_of_session(signed_in.secret, HERE)
    await house.store.commit()
    commits = house.store.writer.commits
    for _ in range(10):
        house.clock.advance((EVERY_S - 1) / 10)
        assert house.access.caller_of_session(signed_in.secret, THERE) is not None
    await house.store.commit()
    assert house.store.writer.commits == commits
    assert house.rows("SELECT used_ms, address FROM session") == [(NOW_MS, HERE.address)]
    house.clock.advance(1)
    assert house.access.holds(signed_in.caller)
    await house.store.commit()
    assert house.store.writer.commits == commits + 1
    assert house.rows("SELECT used_ms, address FROM session") == [(house.clock.wall_ms, THERE.address)]


async def test_a_use_that_was_not_written_down_is_the_next_time(house: Box) -> None:
    signed_in = await house.sign_in()
    token, secret = await house.access.add_token(ANNA, "backup", Role.VIEWER, 0)
    house.clock.advance(EVERY_S)
    house.fail_next()
    assert house.access.caller_of_token(secret) is not None
    assert house.access.caller_of_session(signed_in.secret, HERE) is not None
    with pytest.raises(StoreError):
        await house.store.commit()
    assert house.access.caller_of_session(signed_in.secret, HERE) is not None  # whatever the disk does
    await house.usable()
    house.clock.advance(1)
    await house.crash()
    assert house.access.sessions()[0].used_ms == NOW_MS
    assert house.access.tokens()[0].used_ms == 0
    house.access.caller_of_token(secret)
    house.access.caller_of_session(signed_in.secret, HERE)
    await house.store.commit()
    house.clock.advance(1)
    used_ms = house.clock.wall_ms
    house.access.caller_of_token(secret)
    house.access.caller_of_session(signed_in.secret, HERE)
    house.fail_next()
    house.access._uses.write()
    with pytest.raises(StoreError):
        await house.store.commit()
    await house.usable()
    house.access._uses.write()
    await house.store.commit()
    assert house.rows("SELECT used_ms FROM api_token") == [(used_ms,)]
    assert house.rows("SELECT used_ms FROM session") == [(used_ms,)]
    assert token.used_ms == 0


async def test_those_that_are_over_leave_the_file(house: Box) -> None:
    await house.sign_in()
    kept = await house.sign_in(VERA, keep=True)
    house.clock.advance(IDLE_MS / 1000)
    assert house.rows("SELECT count(*) FROM session") == [(2,)]
    assert house.access.caller_of_session(kept.secret, HERE) is not None
    await house.store.commit()
    assert house.rows("SELECT id FROM session") == [(kept.caller.number,)]


async def test_a_clock_that_wakes_in_1970_signs_nobody_out(house: Box) -> None:
    signed_in = await house.sign_in()
    house.clock.wall_ms = 5000
    await house.restart()
    assert house.access.caller_of_session(signed_in.secret, HERE) is not None
    house.clock.advance(EVERY_S)
    assert house.access.caller_of_session(signed_in.secret, HERE) is not None
    await house.restart()
    house.clock.wall_ms = NOW_MS + IDLE_MS - SECOND_MS
    assert house.access.caller_of_session(signed_in.secret, HERE) is not None
    assert house.access.sessions()[0].made_ms == NOW_MS


@pytest.mark.parametrize("wrong_ms", [5000, NOW_MS + 10 * 365 * 86_400_000, 4_000_000_000_000])
async def test_one_that_a_wrong_clock_dated_begins_when_it_is_right(house: Box, wrong_ms: int) -> None:
    house.clock.wall_ms = wrong_ms
    signed_in = await house.sign_in()
    house.clock.wall_ms = NOW_MS
    assert house.access.caller_of_session(signed_in.secret, HERE) is not None
    assert house.access.sessions()[0].ends_ms == NOW_MS + IDLE_MS
    await house.restart()
    assert house.access.sessions()[0].made_ms == NOW_MS
    house.clock.advance(IDLE_MS / 1000)
    assert house.access.caller_of_session(signed_in.secret, HERE) is None


async def test_when_it_began_anew_is_kept(house: Box) -> None:
    house.clock.wall_ms = 5000
    await house.sign_in()
    house.clock.wall_ms = NOW_MS
    assert house.access.sessions()[0].made_ms == NOW_MS
    await house.restart()
    house.clock.advance(3600)
    assert house.access.sessions()[0].made_ms == NOW_MS


async def test_a_clock_far_ahead_ends_sessions_in_memory_alone(house: Box) -> None:
    signed_in, vera = await house.sign_in(), await house.sign_in(VERA)
    house.clock.wall_ms = 4_000_000_000_000
    assert house.access.caller_of_session(signed_in.secret, HERE) is None
    house.access._uses.write()
    await house.restart()
    house.clock.wall_ms = NOW_MS + 1
    assert house.access.caller_of_session(signed_in.secret, HERE) is not None
    assert house.access.holds(vera.caller)


async def test_a_user_has_so_many_and_the_oldest_ends(house: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "MAX_A_USER", 3)
    other = await house.sign_in(OTTO)
    held = []
    for _ in range(4):
        house.clock.advance(1)
        held.append(await house.sign_in())
        house.access.holds(held[0].caller)  # the first is the one in use
    alive = [house.access.caller_of_session(one.secret, HERE) is not None for one in held]
    assert alive == [True, False, True, True]
    assert house.access.holds(other.caller)
    assert house.rows("SELECT count(*) FROM session") == [(4,)]


async def test_they_are_listed_and_ended(house: Box) -> None:
    anna, otto = await house.sign_in(), await house.sign_in(OTTO)
    house.clock.advance(1)
    house.access.holds(anna.caller)
    assert [one.user for one in house.access.sessions()] == [ANNA, OTTO]
    assert [one.id for one in house.access.sessions(OTTO)] == [otto.caller.number]
    await house.access.end_session(otto.caller.number)
    assert house.access.caller_of_session(otto.secret, HERE) is None
    assert not house.access.holds(otto.caller)
    for number in (otto.caller.number, 0, 10**15):
        with pytest.raises(UsageError) as caught:
            await house.access.end_session(number)
        assert caught.value.code == "session_unknown"
    house.fail_next()
    with pytest.raises(StoreError):
        await house.access.end_session(anna.caller.number)
    assert house.access.holds(anna.caller)
    await house.usable()
    await house.restart()
    assert [one.user for one in house.access.sessions()] == [ANNA]


async def test_a_number_is_not_given_out_twice(house: Box) -> None:
    first = await house.sign_in()
    await house.access.end_session(first.caller.number)
    second = await house.sign_in()
    assert second.caller.number != first.caller.number
    assert not house.access.holds(first.caller)


async def test_who_holds_what(house: Box) -> None:
    signed_in = await house.sign_in(OTTO)
    assert house.access.holds(CONSOLE)
    assert house.access.holds(Caller("leshan", Role.OPERATOR, Way.LESHAN))
    assert house.access.holds(signed_in.caller)
    # What was shown to an operator may be more than a viewer is shown.
    await house.access.change_user(OTTO, role=Role.VIEWER)
    assert not house.access.holds(signed_in.caller)
    await house.access.change_user(OTTO, role=Role.ADMIN)
    assert house.access.holds(signed_in.caller)


async def test_texts_of_clients_are_bounded(house: Box) -> None:
    await house.sign_in(client=Client("x" * 5000, "y" * 5000))
    (one,) = house.access.sessions()
    assert (len(one.address), len(one.agent)) == (64, 200)
