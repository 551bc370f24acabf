"""Passwords: what may be one, and how they are kept: by argon2id (RFC 9106), off the event loop.

NIST SP 800-63B 5.1.1.2: length counts, no rules on which characters, and none of those that everybody tries.
"""

import asyncio
import re
import secrets
import unicodedata
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from ..errors import UsageError
from .throttle import SignInThrottled

MIN_LENGTH: Final = 10
MAX_LENGTH: Final = 256
# Letters with up to three marks each. To compose a long row of marks takes time by the square of it.
_LONGEST: Final = 4 * MAX_LENGTH
# RFC 9106 section 4 has 64 MiB as its second choice. Two at once would take a quarter of a Raspberry Pi Zero
# 2 W's memory from the devices. With 19 MiB and three passes one takes 30 ms on a server, and some ten times
# as long there.
MEMORY_KIB: Final = 19 * 1024
PASSES: Final = 3
LANES: Final = 1
HASH_BYTES: Final = 32
SALT_BYTES: Final = 16
# Hashed at once: two cores, and twice the memory above. Who waits behind so many is told to come again.
AT_ONCE: Final = 2
MAX_WAITING: Final = 20
_MIN_DIFFERENT: Final = 5
# Begun anywhere, in either direction.
_ROWS: Final = tuple(
    row * (MAX_LENGTH // 10 + 1)
    for row in (
        "1234567890",
        "abcdefghijklmnopqrstuvwxyz",
        "qwertyuiopasdfghjklzxcvbnm",
        "qwertzuiopasdfghjklyxcvbnm",
    )
)
_COMMON: Final = (
    "abc admin administrator changeme default dragon flownexus football geheim hallo hello homeassistant"
    " iloveyou ichliebedich letmein lwm2m master monkey passwd passwort password pass princess qwerty qwertz"
    " raspberry raspberrypi root schatz secret sommer summer sunshine superman test user welcome willkommen"
    " winter zephyr"
).split()
# Common words, one or several, with what people put before, between and after them.
_DULL: Final = re.compile(rf"[\W\d_]*(?:(?:{'|'.join(sorted(_COMMON, key=len, reverse=True))})[\W\d_]*)+")
_NO_LETTERS: Final = re.compile(r"[\W\d_]")
_BEFORE: Final = re.compile(r"^[\W\d_]+")
_MIN_NAME: Final = 3
_LOOKS_LIKE: Final = str.maketrans("013457@$!", "oleastasi")


class Passwords:
    """Makes and checks hashes, `AT_ONCE` at a time. The parameters are for tests, which have many to make."""

    def __init__(self, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._hasher = PasswordHasher(
            time_cost=passes,
            memory_cost=memory_kib,
            parallelism=LANES,
            hash_len=HASH_BYTES,
            salt_len=SALT_BYTES,
            type=Type.ID,
        )
        self._free = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        # A hash of no password: to check against it costs what a user's costs.
        salt, nothing = (_encoded(secrets.token_bytes(size)) for size in (SALT_BYTES, HASH_BYTES))
        self._nobody = f"$argon2id$v=19$m={memory_kib},t={passes},p={LANES}${salt}${nothing}"

    def check_room(self) -> None:
        """Raises SignInThrottled where too many wait already."""
        if self._waiting >= MAX_WAITING:
            raise SignInThrottled(1)

    async def make(self, password: str) -> str:
        """The hash to keep, in argon2's own format, with a salt of its own."""
        async with self._turn():
            return await asyncio.to_thread(self._hasher.hash, _bytes(password))

    async def matches(self, password: str, kept: str | None) -> bool:
        """Whether it is the password of a kept hash; None, for nobody's, takes as long to say no."""
        async with self._turn():
            found = await asyncio.to_thread(self._verify, kept or self._nobody, _bytes(password))
        return found and kept is not None

    def outdated(self, kept: str) -> bool:
        """Whether a hash was made by other parameters than those of now."""
        return self._hasher.check_needs_rehash(kept)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A place among those `AT_ONCE`."""
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()

    def _verify(self, kept: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False


def check_password(password: str, user: str) -> None:
    """Raises UsageError("password_weak") for what is too short, too long, or among the first to be tried."""
    text = password if len(password) > _LONGEST else unicodedata.normalize("NFC", password)
    if not MIN_LENGTH <= len(text) <= MAX_LENGTH:
        raise UsageError(
            "password_weak",
            f"the password has {len(text)} characters",
            f"use {MIN_LENGTH} to {MAX_LENGTH}; a few words in a row are easy to remember",
        )
    if _is_guessed(text.casefold(), user):
        raise UsageError(
            "password_weak",
            "the password is among the first that somebody would try",
            "use a few words that have nothing to do with each other",
        )


def _is_guessed(text: str, user: str) -> bool:
    if len(set(text)) < _MIN_DIFFERENT:
        return True
    if any(text in row or text[::-1] in row for row in _ROWS):
        return True
    rest = text.replace(user, "") if len(user) >= _MIN_NAME else text
    if rest != text and not _NO_LETTERS.sub("", rest):
        return True
    # Of what stands around a word digits are digits; within it they may be letters: p4ssw0rd2024.
    inner = _BEFORE.sub("", _BEFORE.sub("", text)[::-1])[::-1].translate(_LOOKS_LIKE)
    return any(_DULL.fullmatch(form) for form in (text, inner))


def _bytes(password: str) -> bytes:
    """One form for what looks the same: keyboards differ in how they compose letters."""
    # A longer one can be nobody's; its beginning costs as much as a right one.
    text = unicodedata.normalize("NFC", password[:_LONGEST])[: MAX_LENGTH + 1]
    return text.encode("utf-8", "surrogatepass")


def _encoded(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")
