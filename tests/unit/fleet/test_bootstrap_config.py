"""Bootstrap as the operator sets it: configurations, and asking a device to come."""

import asyncio
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.bootstrap_config import BootstrapConfig, read_config
from flownexus_appliance.lwm2m.paths import Path
from tests.conftest import FakeClock
from tests.peer import DEADLINE_S, until
from tests.unit.fleet.bootstrap_device import Device, over_dtls
from tests.unit.fleet.conftest import House, a_house

from .test_bootstrap import HERE, bootstraps, comes, psk, refused


@pytest.fixture(autouse=True)
def ports(house: House) -> None:
    house.fleet.bootstrap.listen_on(5683, 5684)


async def test_the_own_configuration_goes_before_the_default(house: House) -> None:
    await psk(house)
    await psk(house, "two")
    bootstrap = house.fleet.bootstrap
    assert bootstrap.config("") == BootstrapConfig()
    assert bootstrap.config("one") is None
    await bootstrap.put_config("", BootstrapConfig(lifetime_s=100))
    await bootstrap.put_config("one", BootstrapConfig(lifetime_s=200))
    assert bootstrap.configs() == {
        "": BootstrapConfig(lifetime_s=100),
        "one": BootstrapConfig(lifetime_s=200),
    }
    lifetimes = []
    for number, endpoint in enumerate(("one", "two", "one"), 1):
        device = Device()
        await bootstraps(house, over_dtls(endpoint, number), device)
        lifetimes.append(device.values["/1/0/1"])
        await bootstrap.put_config("one", None)
    assert lifetimes == [200, 100, 100]


async def test_configurations_outlive_a_restart(tmp_path: FilePath, clock: FakeClock) -> None:
    long_form = read_config(
        {
            "servers": {"0": {"shortId": 1}},
            "security": {
                "1": {
                    "uri": "coaps://x",
                    "securityMode": "PSK",
                    "publicKeyOrId": [1],
                    "secretKey": [2],
                    "serverId": 1,
                }
            },
        }
    )
    async with a_house(tmp_path / "more.db", clock) as before:
        await before.fleet.bootstrap.put_config("one", long_form)
        await before.fleet.bootstrap.put_config("", BootstrapConfig(lifetime_s=77))
        await before.fleet.bootstrap.put_config("gone", BootstrapConfig())
        await before.fleet.bootstrap.put_config("gone", None)
    async with a_house(tmp_path / "more.db", clock) as after:
        assert after.fleet.bootstrap.configs() == {"one": long_form, "": BootstrapConfig(lifetime_s=77)}


async def test_what_cannot_be_read_gives_nothing_rather_than_something_else(
    tmp_path: FilePath, clock: FakeClock
) -> None:
    async with a_house(tmp_path / "more.db", clock) as before:
        await psk(before)
        await psk(before, "two")
        before.store.put_bootstrap_config("one", '{"from": "the future"}')
        await before.store.commit()
    async with a_house(tmp_path / "more.db", clock) as after:
        after.fleet.bootstrap.listen_on(5683, 5684)
        assert refused(await comes(after, over_dtls("one", 1))) == "bootstrap_refused"
        assert (await bootstraps(after, over_dtls("two", 2), Device())).data["ok"]
        await after.fleet.bootstrap.put_config("one", BootstrapConfig())
        assert (await bootstraps(after, over_dtls("one", 1), Device())).data["ok"]


async def test_what_could_not_be_written_is_not_taken(house: House) -> None:
    for name, config in (
        ("one", BootstrapConfig(writes={Path((3, 0, 15)): 5})),
        ("one\n", BootstrapConfig()),
    ):
        with pytest.raises(UsageError):
            await house.fleet.bootstrap.put_config(name, config)
    assert house.fleet.bootstrap.configs() == {}


async def test_the_long_form_is_written_as_it_says(house: House) -> None:
    await psk(house)
    config = read_config(
        {
            "toDelete": ["/0"],
            "servers": {"3": {"shortId": 9, "lifetime": 30, "binding": "U"}},
            "security": {
                "1": {
                    "uri": "coaps://else.example",
                    "securityMode": "PSK",
                    "publicKeyOrId": [97],
                    "secretKey": [1, 2],
                    "serverId": 9,
                }
            },
        }
    )
    await house.fleet.bootstrap.put_config("one", config)
    device = Device()
    assert (await bootstraps(house, over_dtls("one"), device, "pct=112")).data["ok"]
    assert device.values["/0/1/0"] == "coaps://else.example"
    assert (device.values["/0/1/3"], device.values["/0/1/5"], device.values["/1/3/0"]) == (b"a", b"\1\2", 9)
    assert refused(await comes(house, HERE, "ep=one")) == "identity_refused"
    await house.fleet.bootstrap.put_config("free", config)
    assert refused(await comes(house, HERE, "ep=free")) == "bootstrap_refused"


# Server-initiated


async def test_a_device_is_asked_at_its_own_server_instance(quiet_house: House) -> None:
    house = quiet_house
    house.wire.plays["192.0.2.1:5683"] = device = Device()
    await house.register("one", links=b"</1/1>,</3303/0>")
    await house.onboarded()
    result = await house.fleet.bootstrap.trigger("one")
    assert (result.status, result.outcome.code) == ("CONFIRMED", "2.04")
    assert device.steps == ["execute /1/1/9"]


async def test_of_several_instances_the_one_with_our_number_is_asked(quiet_house: House) -> None:
    house = quiet_house
    numbers = {"/1/0/0": 7, "/1/5/0": 101}
    steps: list[str] = []

    def device(asked: object) -> None:
        path = str(asked.downlink.path)  # type: ignore[attr-defined]
        steps.append(path)
        if path in numbers:
            asked.value({path: numbers[path]})  # type: ignore[attr-defined]
        else:
            asked.answer("2.04")  # type: ignore[attr-defined]

    house.wire.plays["192.0.2.1:5683"] = device
    await house.register("one", links=b"</1/0>,</1/5>,</3303/0>")
    await house.onboarded()
    await house.fleet.bootstrap.put_config("one", BootstrapConfig(short_server_id=101))
    assert (await house.fleet.bootstrap.trigger("one")).status == "CONFIRMED"
    assert steps == ["/1/0/0", "/1/5/0", "/1/5/9"]


async def test_who_cannot_be_asked_is_told(quiet_house: House) -> None:
    house = quiet_house
    codes = []
    house.wire.plays["192.0.2.1:5683"] = Device()
    await house.register("one", links=b"</1>,</3303/0>")
    await house.onboarded()
    for endpoint in ("nobody", "one"):
        with pytest.raises(UsageError) as caught:
            await house.fleet.bootstrap.trigger(endpoint)
        codes.append(caught.value.code)
    assert codes == ["endpoint_unknown", "bootstrap_unsupported"]


async def test_no_task_outlives_its_bootstrap(house: House) -> None:
    await psk(house)
    await bootstraps(house, over_dtls("one"), Device())
    async with asyncio.timeout(DEADLINE_S):
        await until(lambda: not [t for t in asyncio.all_tasks() if t.get_name() == "bootstrap"])
