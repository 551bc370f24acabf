"""What may be a password, and what is kept of it."""

import asyncio
import threading
import unicodedata
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.access import passwords as passwords_module
from flownexus_appliance.access.passwords import (
    AT_ONCE,
    MAX_LENGTH,
    MEMORY_KIB,
    MIN_LENGTH,
    PASSES,
    Passwords,
    check_password,
)
from flownexus_appliance.errors import UsageError

from .conftest import CHEAP


@pytest.mark.parametrize(
    "password",
    [
        "four wet horses",
        "correcthorsebatterystaple",
        "xK9#mQ2$vL",
        "ohne Umlaute geht äöüß",
        "пароль из нескольких слов",
        "🐎🐎🐎 and 🐫🐫🐫",
        "0176 2938475",
        "anna likes green tea",
        "the password of the house",
        " leading and trailing ",
        "x1" + "long " * 50,
    ],
)
def test_passwords_that_may_be(password: str) -> None:
    check_password(password, "anna")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "nine char",
        "x" * 257,
        "aaaaaaaaaaaa",
        "abababababab",
        "1234567890",
        "0987654321",
        "123456789012345",
        "7890123456",
        "abcdefghijkl",
        "zyxwvutsrqponm",
        "qwertyuiop",
        "QWERTZUIOP",
        "poiuytrewq",
        "password123",
        "Password2026!",
        "P@ssw0rd2026!",
        "p4ssw0rd!!!",
        "passwordpassword",
        "passwort-geheim",
        "flownexus123",
        "FlowNexus2026",
        "admin12345",
        "administrator",
        "changeme!!",
        "letmein2026",
        "raspberrypi",
        "homeassistant",
        "anna-anna-anna",
        "Anna20261122",
        "annaannaanna",
    ],
)
def test_passwords_that_everybody_tries(password: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_password(password, "anna")
    assert caught.value.code == "password_weak"
    assert caught.value.hint
    assert not password or password not in caught.value.message + caught.value.hint


@given(st.text(max_size=300), st.sampled_from(["", "a", "anna", "long-name"]))
def test_any_text_is_a_password_or_a_weak_one(password: str, user: str) -> None:
    with suppress(UsageError):
        check_password(password, user)
        assert len(unicodedata.normalize("NFC", password)) in range(MIN_LENGTH, MAX_LENGTH + 1)


def test_length_is_counted_as_people_see_it() -> None:
    with pytest.raises(UsageError):
        check_password("a\u0308o\u0308u\u0308xyz123", "anna")  # 12 code points, 9 letters


async def test_a_hash_is_argon2id_with_a_salt_of_its_own() -> None:
    passwords = Passwords()
    one, other = await passwords.make("four wet horses"), await passwords.make("four wet horses")
    assert one.startswith(f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1$")
    assert one != other
    assert await passwords.matches("four wet horses", one)
    assert not await passwords.matches("four wet horse", one)
    assert not passwords.outdated(one)
    assert Passwords(*CHEAP).outdated(one)


@pytest.mark.parametrize("kept", [None, "", "x", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv"])
async def test_nobodys_password_is_never_right(kept: str | None) -> None:
    passwords = Passwords(*CHEAP)
    for password in ("", "four wet horses", "\x00", "\ud800", "x" * 10_000):
        assert not await passwords.matches(password, kept)


async def test_what_is_longer_than_a_password_is_not_its_beginning() -> None:
    passwords = Passwords(*CHEAP)
    kept = await passwords.make("x" * MAX_LENGTH)
    assert await passwords.matches("x" * MAX_LENGTH, kept)
    assert not await passwords.matches("x" * (MAX_LENGTH + 1), kept)
    assert not await passwords.matches("x" * 100_000, kept)


async def test_so_many_at_once_and_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(*CHEAP)
    lock, gate = threading.Lock(), threading.Event()
    running: list[int] = []
    most = [0]
    hasher: Any = passwords._hasher

    class Slow:
        def hash(self, password: bytes) -> str:
            with lock:
                running.append(1)
                most[0] = max(most[0], len(running))
                if most[0] == AT_ONCE:
                    gate.set()
            assert threading.current_thread() is not threading.main_thread()
            assert gate.wait(10)
            try:
                return str(hasher.hash(password))
            finally:
                with lock:
                    running.pop()

    monkeypatch.setattr(passwords, "_hasher", Slow())
    await asyncio.gather(*(passwords.make("four wet horses") for _ in range(8)))
    assert most == [AT_ONCE]


async def test_a_crowd_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords_module, "MAX_WAITING", 2)
    passwords = Passwords(*CHEAP)
    tasks = [asyncio.create_task(passwords.make("four wet horses")) for _ in range(AT_ONCE + 2)]
    passwords.check_room()
    await asyncio.sleep(0)
    with pytest.raises(UsageError) as caught:
        passwords.check_room()
    assert caught.value.code == "sign_in_throttled"
    await asyncio.gather(*tasks)
    passwords.check_room()


async def test_who_gives_up_in_the_line_leaves_it() -> None:
    passwords = Passwords(*CHEAP)
    tasks = [asyncio.create_task(passwords.make("four wet horses")) for _ in range(AT_ONCE + 3)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert passwords._waiting == 0
    assert await passwords.make("four wet horses")
