"""Users: added, changed and removed, always with an admin, and all there after a restart."""

import asyncio

import pytest

from flownexus_appliance.access import users as users_module
from flownexus_appliance.access.names import RESERVED, folded, token_name, user_name
from flownexus_appliance.access.roles import Role
from flownexus_appliance.access.throttle import FREE
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import UsageError

from .conftest import ANNA, HERE, OTHER, OTTO, PASSWORD, THERE, VERA, Box, Client


async def code_of(awaitable: object) -> str:
    with pytest.raises(UsageError) as caught:
        await awaitable  # type: ignore[misc]
    assert caught.value.hint
    return caught.value.code


@pytest.mark.parametrize(
    ("typed", "name"),
    [("anna", "anna"), (" Anna\n", "anna"), ("7", "7"), ("a.b_c-d", "a.b_c-d"), ("x" * 32, "x" * 32)],
)
def test_names_that_may_be(typed: str, name: str) -> None:
    assert user_name(typed) == folded(typed) == name


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "x" * 33,
        "-a",
        ".a",
        "_a",
        "a b",
        "a/b",
        "ä",
        "a\x00",
        "a\nb",
        "<b>",
        "Ａnna",
        "\ud800",
        *RESERVED,
    ],
)
def test_names_that_may_not_be(typed: str) -> None:
    with pytest.raises(UsageError) as caught:
        user_name(typed)
    assert caught.value.code == "user_name_invalid"
    assert caught.value.message.isprintable()
    assert folded(typed) in ("", typed)


def test_names_of_tokens() -> None:
    for typed in ("Backup", " home assistant ", "a.b-c_d", "9" * 40):
        assert token_name(typed) == typed.strip()
    for typed in ("", " ", "-a", "a/b", "ä", "a\tb", "9" * 41, "<b>"):
        with pytest.raises(UsageError) as caught:
            token_name(typed)
        assert caught.value.code == "token_name_invalid"


async def test_everything_is_there_after_a_restart(house: Box) -> None:
    house.clock.advance(60)
    await house.access.change_user(OTTO, role=Role.VIEWER, password=OTHER)
    before = house.access.users()
    assert [(user.name, user.role) for user in before] == [
        (ANNA, Role.ADMIN),
        (OTTO, Role.VIEWER),
        (VERA, Role.VIEWER),
    ]
    assert before[1].changed_ms == before[1].made_ms + 60_000
    for go in (house.restart, house.crash):
        await go()
        assert house.access.users() == before
        assert not house.access.unclaimed()
    assert (await house.access.sign_in(OTTO, OTHER, HERE, keep=False)).caller.role is Role.VIEWER


async def test_passwords_are_on_disk_as_hashes_alone(house: Box) -> None:
    hashes = [text for (text,) in house.rows("SELECT password_hash FROM user")]
    assert len(set(hashes)) == 3
    assert all(text.startswith("$argon2id$v=19$") for text in hashes)
    assert not any(text in repr(house.access._users.all()) for text in hashes)
    await house.stop()
    assert PASSWORD.encode() not in house.path.read_bytes()
    await house.start()


async def test_who_cannot_be_added(house: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    add = house.access.add_user
    assert await code_of(add(" ANNA ", Role.VIEWER, PASSWORD)) == "user_taken"
    assert await code_of(add("watch", Role.VIEWER, PASSWORD)) == "user_name_invalid"
    assert await code_of(add("nora", Role.VIEWER, "x" * 9)) == "password_weak"
    assert await code_of(add("nora", Role.VIEWER, "x" * 257)) == "password_weak"
    assert await code_of(add("schoolteacher", Role.VIEWER, "Schoolteacher99")) == "password_weak"
    twice = await asyncio.gather(
        *(add("nora", Role.VIEWER, PASSWORD) for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in twice) == ["UsageError", "User"]
    monkeypatch.setattr(users_module, "MAX_USERS", 4)
    assert await code_of(add("paul", Role.VIEWER, PASSWORD)) == "user_limit"
    assert len(house.access.users()) == 4


async def test_a_role_that_changes_is_seen_at_once(house: Box) -> None:
    otto = await house.sign_in(OTTO)
    _, secret = await house.access.add_token(OTTO, "backup", Role.ADMIN, 0)
    for role in (Role.VIEWER, Role.ADMIN, Role.OPERATOR):
        await house.access.change_user(OTTO, role=role)
        seen = house.access.caller_of_session(otto.secret, HERE)
        assert seen is not None
        assert seen.role is role
        program = house.access.caller_of_token(secret)
        assert program is not None
        # What the token was made with is the most it may do.
        assert program.role is role.at_most(Role.OPERATOR)
    assert house.access.sessions(OTTO)[0].id == otto.caller.number


async def test_a_new_password_ends_all_sessions_and_slowness(house: Box) -> None:
    first, second = await house.sign_in(OTTO), await house.sign_in(OTTO, THERE)
    vera = await house.sign_in(VERA)
    for number in range(FREE + 1):
        with pytest.raises(UsageError):
            await house.access.sign_in(OTTO, OTHER, Client(f"10.0.0.{number}"), keep=False)
    await house.access.change_user(" Otto ", password=OTHER)
    assert house.access.caller_of_session(first.secret, HERE) is None
    assert house.access.caller_of_session(second.secret, THERE) is None
    assert house.access.caller_of_session(vera.secret, HERE) is not None
    assert house.rows("SELECT count(*) FROM session") == [(1,)]
    assert (await house.access.sign_in(OTTO, OTHER, Client("10.0.0.99"), keep=False)).caller.name == OTTO


async def test_there_is_always_an_admin(house: Box) -> None:
    change, remove = house.access.change_user, house.access.remove_user
    assert await code_of(change(ANNA, role=Role.OPERATOR)) == "last_admin"
    assert await code_of(remove(ANNA)) == "last_admin"
    await change(ANNA, role=Role.ADMIN)
    await change(OTTO, role=Role.ADMIN)
    results = await asyncio.gather(remove(ANNA), change(OTTO, role=Role.VIEWER), return_exceptions=True)
    assert [getattr(one, "code", None) for one in results] == [None, "last_admin"]
    assert [(user.name, user.role) for user in house.access.users()] == [
        (OTTO, Role.ADMIN),
        (VERA, Role.VIEWER),
    ]
    await remove(VERA)


async def test_who_is_not_there_is_told_so(house: Box) -> None:
    assert await code_of(house.access.change_user("nora", role=Role.VIEWER)) == "user_unknown"
    assert await code_of(house.access.change_user("nora", password=PASSWORD)) == "user_unknown"
    assert await code_of(house.access.remove_user("nora")) == "user_unknown"
    assert await code_of(house.access.change_user(OTTO, password="short")) == "password_weak"
    assert [*house.access.sessions("nora"), *house.access.tokens("nora")] == []


async def test_who_is_removed_goes_with_sessions_and_tokens(house: Box) -> None:
    otto = await house.sign_in(OTTO)
    _, secret = await house.access.add_token(OTTO, "backup", Role.OPERATOR, 0)
    program = house.access.caller_of_token(secret)
    assert program is not None
    await house.access.remove_user(OTTO)
    assert house.access.caller_of_session(otto.secret, HERE) is None
    assert house.access.caller_of_token(secret) is None
    assert not house.access.holds(otto.caller)
    assert not house.access.holds(program)
    assert [*house.access.sessions(), *house.access.tokens()] == []
    assert (
        house.rows("SELECT count(*) FROM session") == house.rows("SELECT count(*) FROM api_token") == [(0,)]
    )
    # Another one of that name is another one.
    await house.access.add_user(OTTO, Role.ADMIN, PASSWORD)
    assert not house.access.holds(otto.caller)
    assert house.access.caller_of_session(otto.secret, HERE) is None


async def test_a_disk_that_fails_changes_nobody(house: Box) -> None:
    before = house.access.users()
    session = await house.sign_in(OTTO)
    for change in (
        house.access.add_user("nora", Role.VIEWER, PASSWORD),
        house.access.change_user(OTTO, role=Role.VIEWER, password=OTHER),
        house.access.remove_user(OTTO),
    ):
        house.fail_next()
        with pytest.raises(StoreError):
            await change
        assert house.access.users() == before
        assert house.access.caller_of_session(session.secret, HERE) == session.caller
        await house.usable()
    await house.restart()
    assert house.access.users() == before
    await house.access.add_user("nora", Role.VIEWER, PASSWORD)


async def test_a_role_that_nobody_can_have_written_is_told_at_the_start(house: Box) -> None:
    house.store.writer.gather().statements.append(("UPDATE user SET role = 'king' WHERE name = 'anna'", ()))
    await house.store.commit()
    await house.stop()
    with pytest.raises(StoreError) as caught:
        await house.start()
    assert caught.value.code == "database_unreadable"
    # So that the fixture has something to stop.
    house.path.unlink()
    await house.start()
