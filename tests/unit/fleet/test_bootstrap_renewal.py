"""Devices whose certificates end, or whose root is not the newest, are asked to bootstrap again."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db.credentials import CredentialOrigin, CredentialState
from flownexus_appliance.fleet import bootstrap_renewal
from flownexus_appliance.fleet.fleet import FleetOptions
from flownexus_appliance.fleet.ports import Action
from flownexus_appliance.lwm2m.bootstrap_config import BootstrapConfig, Security
from tests.conftest import FakeClock
from tests.peer import until
from tests.unit.fleet.bootstrap_device import Authority, Device, over_dtls
from tests.unit.fleet.conftest import House, a_house

DAY_S = 86_400
LINKS = b"</1>;ver=1.1,</1/0>,</3303/0>"


@dataclass
class Yard:
    """A house whose devices have certificates that end in `days`."""

    house: House
    authority: Authority = field(default_factory=Authority)

    async def device(
        self,
        endpoint: str = "one",
        number: int = 1,
        *,
        days: float = 10,
        links: bytes = LINKS,
        version: str = "1.1",
        key: bool = True,
        origin: CredentialOrigin = CredentialOrigin.BOOTSTRAP,
        used: bool = True,
        more: tuple[str, ...] = (),
    ) -> Device:
        """A registered device that came by its certificate."""
        credentials = self.house.fleet.credentials
        if key:
            await credentials.add_psk(endpoint)
        self.authority.not_after = self.now + timedelta(days=days)
        made = self.authority.issue(endpoint)
        added = await credentials.add_certificate(
            endpoint,
            made.certificate,
            made.fingerprint,
            made.serial,
            round(made.not_after.timestamp() * 1000),
            state=CredentialState.ACTIVE,
            origin=origin,
        )
        if used:
            credentials.admit(added.proof)
        sender = over_dtls(endpoint, number)
        self.house.wire.plays[sender.peer] = device = Device()
        request = self.house.register_request(endpoint, sender.address, links, version, 10**8, *more)
        await self.house.outcome(replace(request, sender=sender))
        await self.house.onboarded()
        device.steps.clear()
        return device

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.house.clock.wall_ms / 1000, UTC)

    async def looks(self, seconds: float = 61) -> None:
        """Let time pass, and the fleet look at all certificates and ask whom it will."""
        self.house.clock.advance(seconds)
        ticks = Ticks(self.house)
        await until(lambda: ticks.passed >= 4)

    async def configure(self, config: BootstrapConfig) -> None:
        await self.house.fleet.bootstrap.put_config("", config)


class Ticks:
    """Counts the fleet's ticks from now on."""

    def __init__(self, house: House) -> None:
        self.passed = 0
        tick = house.fleet.bootstrap.tick

        def counted(moment: object) -> None:
            tick(moment)  # type: ignore[arg-type]
            self.passed += 1

        house.fleet.bootstrap.tick = counted  # type: ignore[method-assign]


@pytest.fixture
async def yard(tmp_path: FilePath, clock: FakeClock) -> AsyncIterator[Yard]:
    async with a_house(tmp_path / "fleet.db", clock, FleetOptions(watch_list=())) as house:
        yard = Yard(house)
        await yard.configure(BootstrapConfig(security=Security.CERTIFICATE))
        house.fleet.bootstrap.attach(yard.authority)
        house.fleet.bootstrap.listen_on(5683, 5684)
        await yard.looks(0)  # the next look is a minute from here, whatever a test does until then
        yield yard


def asked(house: House) -> list[tuple[str, bool, str]]:
    return [
        (e.data["endpoint"], e.data["ok"], e.data["message"])
        for e in house.told.bus
        if e.name == "bootstrap" and e.data["step"] == "asked"
    ]


async def test_a_device_whose_certificate_ends_is_asked(yard: Yard) -> None:
    device = await yard.device(days=10)
    await yard.looks()
    assert device.steps == ["execute /1/0/9"]
    assert asked(yard.house) == [("one", True, "its certificate ends: 2.04")]


@pytest.mark.parametrize("days", [31, 400])
async def test_one_that_has_time_is_not(yard: Yard, days: int) -> None:
    device = await yard.device(days=days)
    await yard.looks()
    assert device.steps == []


async def test_how_early_is_configured(yard: Yard) -> None:
    await yard.configure(BootstrapConfig(security=Security.CERTIFICATE, renew_before_s=400 * DAY_S))
    device = await yard.device(days=399)
    await yard.looks()
    assert device.steps == ["execute /1/0/9"]


async def test_a_new_root_is_brought(yard: Yard) -> None:
    device = await yard.device(days=400)
    await yard.looks()
    assert device.steps == []
    yard.authority.chain = (b"N" * 450, *yard.authority.chain)
    yard.authority.until = yard.now + timedelta(days=180)  # the end of the old root's overlap
    await yard.looks()
    assert asked(yard.house) == [("one", True, "the box has a new root: 2.04")]


async def test_one_that_does_not_come_is_asked_ever_more_rarely(yard: Yard) -> None:
    device = await yard.device(days=29)
    times: list[int] = []
    for minute in range(0, 200, 5):
        await yard.looks(300)
        times += [minute] * (len(device.steps) - len(times))
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses == [20, 40, 80]


async def test_the_pause_ends_growing_at_a_day(yard: Yard) -> None:
    device = await yard.device(days=29)
    for _ in range(12):
        await yard.looks(DAY_S)
    assert len(device.steps) == 12


async def test_one_that_came_and_uses_the_new_certificate_is_left_alone(yard: Yard) -> None:
    device = await yard.device(days=10)
    await yard.looks()
    yard.authority.not_after = yard.now + timedelta(days=700)
    house = yard.house
    sender = over_dtls("one", 7)
    house.wire.plays[sender.peer] = Device()
    again = replace(house.uplink(Action.BOOTSTRAP), sender=sender, query=("ep=one",))
    await house.outcome(again)
    await house.told.until(lambda e: e.name == "bootstrap" and e.data["step"] == "finished")
    house.fleet.credentials.admit(house.fleet.credentials.of("one")[-1].proof)
    await yard.looks(DAY_S)
    assert device.steps == ["execute /1/0/9"]


@pytest.mark.parametrize(
    ("links", "version", "expected"),
    [
        (b"</1>;ver=1.0,</1/0>,</3303/0>", "1.1", False),
        (b"</1/0>,</3303/0>", "1.0", False),
        (b"</1/0>,</3303/0>", "1.1", True),  # a core object without a version: that of the client
        (b"</1>;ver=1.2,</1/0>,</3303/0>", "1.2", True),
        (b"</3303/0>", "1.1", False),
    ],
)
async def test_only_who_has_the_trigger_is_asked(
    yard: Yard, links: bytes, version: str, expected: bool
) -> None:
    device = await yard.device(links=links, version=version)
    await yard.looks()
    assert bool(device.steps) is expected


async def test_who_could_not_come_is_not_asked(yard: Yard) -> None:
    """Its bootstrap account was the enrolment key, or a certificate that another took the place of."""
    device = await yard.device(key=False)
    await yard.looks()
    assert device.steps == []


async def test_who_came_by_an_operators_certificate_is(yard: Yard) -> None:
    device = await yard.device(key=False, origin=CredentialOrigin.OPERATOR)
    await yard.looks()
    assert device.steps == ["execute /1/0/9"]


async def test_a_certificate_that_never_was_used_is_nobodys_to_renew(yard: Yard) -> None:
    device = await yard.device(used=False)
    await yard.looks()
    assert device.steps == []


@pytest.mark.parametrize("security", [Security.PSK, Security.NONE, Security.AS_IS])
async def test_who_would_get_no_certificate_is_not_asked(yard: Yard, security: Security) -> None:
    await yard.configure(BootstrapConfig(security=security))
    device = await yard.device()
    await yard.looks()
    assert device.steps == []


async def test_a_sleeping_device_is_asked_when_it_wakes(yard: Yard) -> None:
    device = await yard.device(more=("b=U", "Q"))
    await yard.looks(100)  # longer than it listens
    assert device.steps == []
    registration_id = yard.house.rows.registrations()["one"]
    sender = over_dtls("one", 1)
    update = replace(
        yard.house.register_request(),
        action=Action.UPDATE,
        sender=sender,
        query=(),
        payload=b"",
        content_format=None,
        registration_id=registration_id,
    )
    await yard.house.outcome(update)
    await until(lambda: device.steps == ["execute /1/0/9"])


async def test_one_that_does_not_answer_is_told_of(yard: Yard) -> None:
    device = await yard.device()
    device.mute.add("execute /1/0/9")
    await yard.looks()
    message = "its certificate ends: it did not answer: nobody knows whether the device has done it"
    await until(lambda: asked(yard.house) != [])
    assert asked(yard.house) == [("one", False, message)]


async def test_not_all_at_once(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap_renewal, "AT_ONCE", 2)
    house = yard.house
    for number in range(1, 6):
        await yard.device(f"d{number}", number)
        del house.wire.plays[over_dtls("", number).peer]  # from now on the test answers for it
    house.wire.most_at_once = 0
    await yard.looks()
    endpoints = set()
    for _ in range(5):
        request = await house.wire.asked()
        endpoints.add(request.address)
        await yard.looks(0)
        request.answer("2.04")
    assert len(endpoints) == 5
    assert house.wire.most_at_once == 2


async def test_who_lost_its_credentials_is_forgotten(yard: Yard) -> None:
    device = await yard.device(more=("b=U", "Q"))
    await yard.looks(100)
    await yard.house.fleet.credentials.remove_endpoint("one")
    await yard.looks()
    assert device.steps == []
    assert yard.house.fleet.bootstrap.due() == {}
