"""`Access` on a real store, with cheap hashes, at a time that tests set."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flownexus_appliance.access.access import Access
from flownexus_appliance.access.passwords import Passwords
from flownexus_appliance.access.people import SignedIn
from flownexus_appliance.access.roles import Role
from flownexus_appliance.db import writer as writer_module
from flownexus_appliance.db.store import ResourceType, Store
from flownexus_appliance.lwm2m.paths import Path as ResourcePath
from flownexus_appliance.lwm2m.values import DataType
from tests.box import Rows
from tests.conftest import FakeClock
from tests.peer import until

# A clock that can be right: 2026-11-18.
NOW_MS = 1_795_000_000_000
PASSWORD = "four wet horses"
OTHER = "three dry camels"
ANNA, OTTO, VERA = "anna", "otto", "vera"
# The cheapest that argon2 takes.
CHEAP = (8, 1)


@dataclass(frozen=True, slots=True)
class Client:
    address: str = "192.0.2.7"
    agent: str = "Firefox"


HERE, THERE = Client(), Client("198.51.100.9", "curl")


def describe(path: ResourcePath, data_type: DataType) -> ResourceType:
    return ResourceType("", data_type, "")


@dataclass(slots=True)
class Box:
    """The access of one daemon after the other on the same file."""

    path: Path
    clock: FakeClock
    passwords: tuple[int, int] = CHEAP
    store: Store = field(init=False)
    access: Access = field(init=False)
    rows: Rows = field(init=False)

    async def start(self) -> None:
        self.rows = Rows(self.path)
        self.store = Store(self.path, describe)
        kept = await self.store.start()
        self.access = Access(self.store, self.clock, Passwords(*self.passwords))
        await self.access.start(kept.people)

    async def stop(self) -> None:
        await self.access.stop()
        await self.store.stop()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def crash(self) -> None:
        """A restart without a goodbye."""
        await self.store.stop()
        await self.start()

    def fail_next(self) -> None:
        """Have the next commit fail, with all that is in it."""
        self.store.writer.gather().statements.append(("INSERT INTO nosuch VALUES (1)", ()))

    async def usable(self) -> None:
        await until(lambda: not self.store.writer._broken)

    async def claim(self) -> SignedIn:
        """Make ANNA the first admin."""
        code = self.access.setup_code()
        assert code is not None
        return await self.access.claim(code, ANNA, PASSWORD, HERE, keep=False)

    async def people(self) -> None:
        """ANNA the admin, OTTO the operator and VERA the viewer."""
        for name, role in ((ANNA, Role.ADMIN), (OTTO, Role.OPERATOR), (VERA, Role.VIEWER)):
            await self.access.add_user(name, role, PASSWORD)

    async def sign_in(self, name: str = ANNA, client: Client = HERE, *, keep: bool = False) -> SignedIn:
        return await self.access.sign_in(name, PASSWORD, client, keep=keep)


@pytest.fixture
async def box(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Box]:
    """A box that nobody has set up yet."""
    monkeypatch.setattr(writer_module, "RETRY_S", 0.001)
    clock.wall_ms = NOW_MS
    box = Box(tmp_path / "box.db", clock)
    await box.start()
    yield box
    await box.stop()


@pytest.fixture
async def house(box: Box) -> Box:
    """A box with three people."""
    await box.people()
    return box
