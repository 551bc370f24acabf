"""Bootstrap configurations over REST, their secrets kept back; asking a device to come."""

from typing import Any

import pytest
from yarl import URL

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.bootstrap_config import BootstrapConfig, read_config

from .asking import ask, of_endpoint
from .conftest import Client
from .house import SENSOR, STRANGE, Outcome
from .trust import FakeBootstrap

SHORT = {"lifetime_s": 600, "delete": ["/0", "/1", "/5"], "writes": {"/3/0/15": "Europe/Berlin"}}
LONG = {
    "security": {
        "0": {
            "uri": "coaps://box:5684",
            "securityMode": "PSK",
            "publicKeyOrId": [97, 98],
            "secretKey": [222, 173, 190, 239] * 4,
            "serverId": 7,
        }
    },
    "servers": {"0": {"shortId": 7, "lifetime": 300, "binding": "U"}},
}


def config_of(endpoint: str) -> str:
    return of_endpoint(endpoint).replace("/endpoints/", "/bootstrap/", 1)


async def test_a_device_gets_the_default_until_it_has_its_own(
    client: Client, bootstrap: FakeBootstrap
) -> None:
    answer = await ask(client, "GET", config_of(STRANGE))
    assert (answer["endpoint"], answer["own"]) == (STRANGE, False)
    assert answer["config"]["security"] == "as_is"
    assert answer["config"]["lifetime_s"] == BootstrapConfig().lifetime_s
    answer = await ask(client, "PUT", config_of(STRANGE), SHORT)
    assert (answer["own"], answer["config"]["lifetime_s"]) == (True, 600)
    assert bootstrap.kept[STRANGE].lifetime_s == 600
    assert await ask(client, "GET", config_of(STRANGE)) == answer
    answer = await ask(client, "DELETE", config_of(STRANGE))
    assert answer["own"] is False
    assert bootstrap.kept == {}
    answer = await ask(client, "DELETE", config_of(STRANGE), status=404)
    assert answer["error"] == "bootstrap_config_unknown"


async def test_what_is_told_can_be_put_back(client: Client, bootstrap: FakeBootstrap) -> None:
    told = (await ask(client, "PUT", config_of(SENSOR), SHORT))["config"]
    before = bootstrap.kept[SENSOR]
    await ask(client, "PUT", config_of(SENSOR), told)
    assert bootstrap.kept[SENSOR] == before


async def test_the_default_is_everybodys(client: Client, bootstrap: FakeBootstrap) -> None:
    assert (await ask(client, "GET", "/bootstrap"))["default"]["own"] is False
    await ask(client, "PUT", "/bootstrap", SHORT)
    assert set(bootstrap.kept) == {""}
    default = (await ask(client, "GET", "/bootstrap"))["default"]
    assert (default["own"], default["config"]["lifetime_s"]) == (True, 600)
    answer = await ask(client, "GET", config_of(SENSOR))
    assert (answer["own"], answer["config"]["lifetime_s"]) == (False, 600)
    assert (await ask(client, "DELETE", "/bootstrap"))["own"] is False
    assert (await ask(client, "DELETE", "/bootstrap", status=404))["error"] == "bootstrap_config_unknown"


async def test_those_with_their_own_are_listed(client: Client) -> None:
    for name in ("a1", "b1", "a2", "a3", ""):
        await ask(client, "PUT", config_of(name) if name else "/bootstrap", SHORT)
    answer = await ask(client, "GET", "/bootstrap")
    assert [item["endpoint"] for item in answer["items"]] == ["a1", "a2", "a3", "b1"]
    answer = await ask(client, "GET", "/bootstrap?q=A&limit=2")
    assert [item["endpoint"] for item in answer["items"]] == ["a1", "a2"]
    assert answer["next"] == "a2"
    answer = await ask(client, "GET", "/bootstrap?q=A&limit=2&after=a2")
    assert [item["endpoint"] for item in answer["items"]] == ["a3"]
    assert answer["next"] is None


async def test_keys_of_the_long_form_are_not_told_again(client: Client, bootstrap: FakeBootstrap) -> None:
    answers: list[Any] = [await ask(client, "PUT", config_of(SENSOR), LONG)]
    assert bootstrap.kept[SENSOR] == read_config(LONG)
    answers.append(await ask(client, "GET", config_of(SENSOR)))
    answers += (await ask(client, "GET", "/bootstrap"))["items"]
    for answer in answers:
        instance = answer["config"]["security"]["0"]
        assert instance["secretKey"] is None
        assert instance["publicKeyOrId"] == [97, 98]
        assert "222, 173" not in str(answer)


async def test_a_long_form_without_its_keys_is_not_taken(client: Client, bootstrap: FakeBootstrap) -> None:
    """So that reading one, changing the lifetime and putting it back does not lose the key."""
    await ask(client, "PUT", config_of(SENSOR), LONG)
    told = (await ask(client, "GET", config_of(SENSOR)))["config"]
    answer = await ask(client, "PUT", config_of(SENSOR), told, status=400)
    assert answer["error"] == "bootstrap_config_invalid"
    assert "secretKey" in answer["message"]
    assert bootstrap.kept[SENSOR] == read_config(LONG)


@pytest.mark.parametrize("body", [{"lifetime_s": 0}, {"colour": 1}, [], "x", 3, {"security": "wpa2"}])
async def test_what_is_no_configuration_is_told(
    client: Client, bootstrap: FakeBootstrap, body: object
) -> None:
    for path in ("/bootstrap", config_of(SENSOR)):
        answer = await ask(client, "PUT", path, body, status=400)
        assert answer["error"] == "bootstrap_config_invalid"
    assert bootstrap.kept == {}


@pytest.mark.parametrize(
    ("content", "content_type", "status", "error"),
    [
        (b"{", "application/json", 400, "bootstrap_config_invalid"),
        (b"\xff{}", "application/json", 400, "body_invalid"),
        (b"{}", "text/plain", 415, "media_type_unsupported"),
        (b" " * (64 * 1024 + 1), "application/json", 413, "body_too_large"),
    ],
)
async def test_what_is_no_json_is_told(
    client: Client, content: bytes, content_type: str, status: int, error: str
) -> None:
    headers = {"Content-Type": content_type}
    async with client.put("/api/v1/bootstrap", data=content, headers=headers) as response:
        assert response.status == status
        assert (await response.json())["error"] == error


async def test_a_device_is_asked_to_come(client: Client, bootstrap: FakeBootstrap) -> None:
    bootstrap.outcome = Outcome(code="2.04")
    answer = await ask(client, "POST", of_endpoint(STRANGE, "/bootstrap"))
    assert (answer["status"], answer["code"]) == ("CONFIRMED", "2.04")
    assert bootstrap.asked == [STRANGE]
    bootstrap.outcome = UsageError("endpoint_offline", "it is not here", "wait")
    assert (await ask(client, "POST", of_endpoint(STRANGE, "/bootstrap"), status=409))["hint"] == "wait"


async def test_nobody_is_not_asked(client: Client, bootstrap: FakeBootstrap) -> None:
    answer = await ask(client, "POST", of_endpoint("nobody", "/bootstrap"), status=404)
    assert answer["error"] == "endpoint_unknown"
    assert bootstrap.asked == []


async def test_a_name_in_an_address_may_be_anything(client: Client, bootstrap: FakeBootstrap) -> None:
    name = "a/b ?#%"
    await ask(client, "PUT", config_of(name), {})
    assert list(bootstrap.kept) == [name]
    async with client.get(URL("/api/v1/bootstrap/a%2fb%20%3f%23%25", encoded=True)) as response:
        assert (await response.json())["own"] is True
