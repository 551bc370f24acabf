"""Leshan's bootstrap configurations: its long form goes in, comes back without keys, and goes away."""

import json
from typing import Any

import pytest

from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.bootstrap_config import BootstrapConfig, parse_config

from ..conftest import Client
from ..trust import FakeBootstrap

CONFIGS = "/leshan/api/bootstrap"
SECRET = list(range(200, 216))
# As Zephyr's interoperability suite writes it.
ZEPHYR: dict[str, Any] = {
    "servers": {
        "0": {
            "binding": "U",
            "defaultMinPeriod": 1,
            "lifetime": 86400,
            "notifIfDisabled": False,
            "shortId": 1,
        }
    },
    "security": {
        "1": {
            "bootstrapServer": False,
            "clientOldOffTime": 1,
            "publicKeyOrId": [97, 98],
            "secretKey": SECRET,
            "securityMode": "PSK",
            "serverId": 1,
            "serverSmsNumber": "",
            "smsBindingKeyParam": [],
            "smsBindingKeySecret": [],
            "smsSecurityMode": "NO_SEC",
            "uri": "coaps://192.0.2.2:5684",
        }
    },
    "oscore": {},
    "toDelete": ["/0", "/1"],
}


async def post(client: Client, body: object, endpoint: str = "kitchen", status: int = 200) -> str:
    async with client.post(f"{CONFIGS}/{endpoint}", data=json.dumps(body).encode()) as response:
        text = await response.text()
        assert response.status == status, text
        return text


async def listed(client: Client, path: str = CONFIGS) -> Any:
    async with client.get(path) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        return await response.json()


async def test_a_configuration_is_kept_and_listed_without_its_keys(
    client: Client, bootstrap: FakeBootstrap
) -> None:
    assert await listed(client) == {}
    assert await post(client, ZEPHYR, "kitchen%2Fnorth") == ""
    assert bootstrap.kept == {"kitchen/north": parse_config(json.dumps(ZEPHYR))}
    found = await listed(client)
    assert found == await listed(client, f"{CONFIGS}/")
    (shown,) = found.values()
    assert list(found) == ["kitchen/north"]
    assert shown["security"]["1"]["secretKey"] == []
    assert shown["toDelete"] == ["/0", "/1"]
    assert shown["autoIdForSecurityObject"] is False
    for section in ("servers", "security"):
        for number, instance in ZEPHYR[section].items():
            told = {name: value for name, value in instance.items() if name != "secretKey"}
            assert told.items() <= shown[section][number].items()


async def test_a_configuration_is_replaced(client: Client, bootstrap: FakeBootstrap) -> None:
    await post(client, ZEPHYR)
    await post(client, {**ZEPHYR, "toDelete": ["/1"]})
    assert [list(config.delete) for config in bootstrap.kept.values()] == [[(1,)]]


async def test_the_boxs_own_form_is_not_for_leshans_tools(client: Client, bootstrap: FakeBootstrap) -> None:
    bootstrap.kept = {"short": BootstrapConfig(), "": parse_config(json.dumps(ZEPHYR))}
    assert await listed(client) == {}
    for body in ({}, {"security": "psk"}, {"uri": "coaps://192.0.2.2"}):
        assert (await post(client, body, status=400)).startswith("Invalid request body: ")
    assert "kitchen" not in bootstrap.kept


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ([], "object"),
        ({**ZEPHYR, "unheard": 1}, "unheard"),
        ({**ZEPHYR, "oscore": {"1": {}}}, "OSCORE"),
        ({**ZEPHYR, "security": {"1": {**ZEPHYR["security"]["1"], "secretKey": []}}}, "secretKey"),
        ({**ZEPHYR, "toDelete": ["/three"]}, "toDelete"),
    ],
)
async def test_what_cannot_be_taken(client: Client, bootstrap: FakeBootstrap, body: object, why: str) -> None:
    text = await post(client, body, status=400)
    assert text.startswith("Invalid request body: ")
    assert why in text
    assert "200" not in text
    assert bootstrap.kept == {}


async def test_no_json_at_all(client: Client, bootstrap: FakeBootstrap) -> None:
    for data in (b"", b"{", b"\xff"):
        async with client.post(f"{CONFIGS}/kitchen", data=data) as response:
            assert response.status == 400
    assert bootstrap.kept == {}


async def test_what_the_house_refuses(
    client: Client, bootstrap: FakeBootstrap, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise failure

    monkeypatch.setattr(FakeBootstrap, "put_config", refuse)
    failure: Exception = UsageError("endpoint_invalid", "no name", "use another")
    assert await post(client, ZEPHYR, status=400) == "Invalid request body: no name: use another"
    failure = StoreError("store_full", "the disk is full", "make room")
    assert (await post(client, ZEPHYR, status=500)).startswith("Unexpected exception: the disk is full")


async def test_a_configuration_is_removed(client: Client, bootstrap: FakeBootstrap) -> None:
    await post(client, ZEPHYR)
    async with client.delete(f"{CONFIGS}/kitchen") as response:
        assert (response.status, await response.text()) == (204, "")
    assert bootstrap.kept == {}
    async with client.delete(f"{CONFIGS}/kitchen") as response:
        assert (response.status, await response.text()) == (404, "no config for kitchen")
        assert response.content_type == "text/plain"
