"""The first admin: by the setup code, once."""

import asyncio
import logging

import pytest

from flownexus_appliance.access.roles import Role, Way
from flownexus_appliance.access.setup import make_code, same_code
from flownexus_appliance.access.throttle import FREE, SignInThrottled
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import UsageError

from .conftest import ANNA, HERE, OTTO, PASSWORD, THERE, VERA, Box, Client


def test_codes_are_sixty_random_bits_that_can_be_read() -> None:
    codes = [make_code() for _ in range(200)]
    assert len(set(codes)) == 200
    for code in codes:
        assert [len(group) for group in code.split("-")] == [4, 4, 4]
        assert set(code) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ-")
    assert len({character for code in codes for character in code}) == 33


@pytest.mark.parametrize("typed", ["AB01-CD1E-0XYZ", "ab01cd1e0xyz", " abo1 cdLe-oxyz\n", "ABOI-CDIE-OXYZ"])
def test_what_people_write_for_what_they_read(typed: str) -> None:
    assert same_code(typed, "AB01-CD1E-0XYZ")


@pytest.mark.parametrize("typed", ["", "-", "AB01-CD1E-0XY", "AB01-CD1E-0XYZ0", "\ud800", "A" * 2_000_000])
def test_what_is_no_code(typed: str) -> None:
    assert not same_code(typed, "AB01-CD1E-0XYZ")


async def test_the_code_makes_the_first_admin_and_signs_in(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    code = box.access.setup_code()
    assert box.access.unclaimed()
    assert code is not None
    signed_in = await box.access.claim(code.lower().replace("-", " "), " Anna ", PASSWORD, HERE, keep=True)
    assert not box.access.unclaimed()
    assert box.access.setup_code() is None
    caller = signed_in.caller
    assert (caller.name, caller.role, caller.way, caller.user) == (ANNA, Role.ADMIN, Way.SESSION, ANNA)
    assert signed_in.kept
    assert box.access.caller_of_session(signed_in.secret, HERE) == caller
    assert box.rows("SELECT value FROM setting WHERE name = 'setup_code'") == []
    with pytest.raises(UsageError) as caught:
        await box.access.claim(code, OTTO, PASSWORD, HERE, keep=False)
    assert caught.value.code == "setup_done"
    await box.restart()
    assert box.access.setup_code() is None
    assert not box.access.unclaimed()


async def test_the_code_is_the_same_until_it_is_used_and_the_log_has_it(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    code = box.access.setup_code()
    await box.crash()
    assert box.access.setup_code() == code
    (record,) = [record for record in caplog.records if hasattr(record, "SETUP_CODE")]
    assert vars(record)["SETUP_CODE"] == code
    assert str(code) not in record.getMessage()
    await box.claim()
    caplog.clear()
    await box.restart()
    assert not [record for record in caplog.records if hasattr(record, "SETUP_CODE")]


@pytest.mark.parametrize(
    ("code", "name", "password", "error"),
    [
        ("0000-0000-0000", ANNA, PASSWORD, "setup_code_wrong"),
        ("", ANNA, PASSWORD, "setup_code_wrong"),
        (None, "console", PASSWORD, "user_name_invalid"),
        (None, "<b>", PASSWORD, "user_name_invalid"),
        (None, ANNA, "short", "password_weak"),
    ],
)
async def test_what_makes_no_admin(box: Box, code: str | None, name: str, password: str, error: str) -> None:
    right = box.access.setup_code()
    assert right is not None
    with pytest.raises(UsageError) as caught:
        await box.access.claim(right if code is None else code, name, password, HERE, keep=False)
    assert caught.value.code == error
    assert right not in str(caught.value) + caught.value.hint
    assert box.access.unclaimed()
    assert box.access.setup_code() == right


async def test_guessing_gets_slow_for_who_guesses_alone(box: Box) -> None:
    for _ in range(FREE + 1):
        with pytest.raises(UsageError) as caught:
            await box.access.claim("0000", ANNA, PASSWORD, THERE, keep=False)
        assert caught.value.code == "setup_code_wrong"
    code = box.access.setup_code()
    assert code is not None
    with pytest.raises(SignInThrottled):
        await box.access.claim(code, ANNA, PASSWORD, THERE, keep=False)
    assert (await box.access.claim(code, ANNA, PASSWORD, HERE, keep=False)).caller.name == ANNA


async def test_of_two_at_once_one_is_the_first(box: Box) -> None:
    code = box.access.setup_code()
    assert code is not None
    results = await asyncio.gather(
        *(
            box.access.claim(code, name, PASSWORD, Client(f"192.0.2.{n}"), keep=False)
            for n, name in enumerate((ANNA, OTTO))
        ),
        return_exceptions=True,
    )
    (error,) = [one for one in results if isinstance(one, UsageError)]
    assert error.code == "setup_done"
    assert len(box.access.users()) == 1
    assert box.rows("SELECT count(*) FROM user") == [(1,)]


async def test_a_disk_that_fails_leaves_the_box_to_be_set_up(box: Box) -> None:
    code = box.access.setup_code()
    box.fail_next()
    with pytest.raises(StoreError):
        await box.claim()
    assert box.access.unclaimed()
    assert box.access.setup_code() == code
    assert box.access.sessions() == []
    await box.usable()
    assert (await box.claim()).caller.name == ANNA


async def test_the_console_may_make_the_first_admin_too(box: Box) -> None:
    with pytest.raises(UsageError) as caught:
        await box.access.add_user(VERA, Role.VIEWER, PASSWORD)
    assert caught.value.code == "last_admin"
    assert box.access.unclaimed()
    await box.access.add_user(ANNA, Role.ADMIN, PASSWORD)
    assert box.access.setup_code() is None
    assert box.rows("SELECT value FROM setting WHERE name = 'setup_code'") == []
    await box.restart()
    assert box.access.setup_code() is None
