"""Bootstrap settings by their page: the short form, all of them as JSON, the default, asking a device."""

import json

import pytest

from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import UsageError
from flownexus_appliance.http.api_bootstrap import SECRETS
from flownexus_appliance.lwm2m.bootstrap_config import BootstrapConfig, Security, parse_config
from flownexus_appliance.lwm2m.paths import Path

from .conftest import Client
from .house import QUIET, SENSOR, STRANGE, Outcome
from .page import check_policy, device, page, refused, send, value, wrong
from .trust import FakeBootstrap

LONG = {
    "servers": {"0": {"shortId": 1, "lifetime": 60}},
    "security": {
        "1": {
            "uri": "coaps://box.example:5684",
            "securityMode": "PSK",
            "publicKeyOrId": [97],
            "secretKey": [200] * 16,
            "serverId": 1,
        }
    },
}
FORM = {
    "security": "as_is",
    "uri": "",
    "lifetime_s": "600",
    "binding": "U",
    "default_pmin_s": "",
    "default_pmax_s": "60",
    "short_server_id": "7",
    "mute_send": "true",
    "renew_before_s": "86400",
}


def of(endpoint: str) -> str:
    return f"{device(endpoint)}/bootstrap" if endpoint else "/bootstrap"


async def see(client: Client, endpoint: str) -> str:
    return (await page(client, of(endpoint), cache="no-store")).text


async def test_the_default_is_shown(client: Client) -> None:
    found = await page(client, "/bootstrap", cache="no-store")
    check_policy(found)
    assert value(found, "lifetime_s") == "86400"
    assert value(found, "renew_before_s") == "2592000"
    assert value(found, "uri") == ""
    assert '"security": "as_is"' in found.text
    assert "Back to the default" not in found.text


@pytest.mark.parametrize("endpoint", ["", SENSOR, STRANGE, "never seen <b>"])
async def test_the_short_form_is_kept(client: Client, bootstrap: FakeBootstrap, endpoint: str) -> None:
    place = await send(client, of(endpoint), FORM)
    assert bootstrap.kept == {
        endpoint: BootstrapConfig(
            lifetime_s=600, default_pmax_s=60, short_server_id=7, mute_send=True, renew_before_s=86400
        )
    }
    found = await page(client, place, cache="no-store")
    check_policy(found)
    assert "Saved." in found.text
    assert value(found, "lifetime_s") == "600"
    assert "Back to the default" in found.text
    assert await send(client, f"{of(endpoint)}/default") == f"{of(endpoint)}?done=default"
    assert bootstrap.kept == {}


async def test_the_form_leaves_what_it_does_not_show(client: Client, bootstrap: FakeBootstrap) -> None:
    config = parse_config('{"writes": {"/3/0/14": "+01:00"}, "read": ["/1"], "delete": ["/0"]}')
    bootstrap.kept[""] = config
    await send(client, "/bootstrap", FORM)
    assert bootstrap.kept[""].writes == config.writes
    assert bootstrap.kept[""].read == (Path((1,)),)
    assert bootstrap.kept[""].delete == (Path((0,)),)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("security", "rpk"),
        ("uri", "http://box"),
        ("uri", "coap://box.example:5683"),
        ("lifetime_s", "0"),
        ("lifetime_s", "<b>"),
        ("binding", "X"),
        ("default_pmin_s", "61"),
        ("default_pmax_s", "-1"),
        ("short_server_id", "65536"),
        ("renew_before_s", "1.5"),
    ],
)
async def test_a_mistake_is_told_beside_its_field(
    client: Client, bootstrap: FakeBootstrap, field: str, text: str
) -> None:
    found = await refused(client, "/bootstrap", 400, {**FORM, field: text})
    check_policy(found)
    assert wrong(found) == [field]
    assert bootstrap.kept == {}
    if field != "security":
        assert value(found, field) == text


async def test_json_is_kept_in_either_form(client: Client, bootstrap: FakeBootstrap) -> None:
    await send(client, "/bootstrap", {"json": '{"security": "none", "uri": "coap://box:5683"}'})
    assert bootstrap.kept[""].security is Security.NONE
    await send(client, of(SENSOR), {"json": json.dumps(LONG)})
    assert bootstrap.kept[SENSOR].instances is not None
    found = await page(client, of(SENSOR), cache="no-store")
    check_policy(found)
    assert "no form for them" in found.text
    assert "lifetime_s" not in found.all("id")
    assert "200" not in found.text
    assert [f'"{name}": null' for name in SECRETS if f'"{name}": null' in found.text]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"lifetime": 5}', "no such field"),
        ('{"lifetime_s": "<b>"}', "lifetime_s: not a whole number"),
        ('{"security": {"1": {"uri": 5}}}', "security"),
    ],
)
async def test_json_that_is_refused_stays_to_be_mended(
    client: Client, bootstrap: FakeBootstrap, text: str, words: str
) -> None:
    found = await refused(client, "/bootstrap", 400, {"json": text})
    check_policy(found)
    assert wrong(found) == ["json"]
    assert words in found.text
    assert text in found.text
    assert bootstrap.kept == {}


async def test_the_default_page_leads_to_those_with_their_own(
    client: Client, bootstrap: FakeBootstrap
) -> None:
    bootstrap.kept |= {STRANGE: BootstrapConfig(), "": BootstrapConfig()}
    found = await page(client, "/bootstrap", cache="no-store")
    assert of(STRANGE) in found.all("href")
    bootstrap.kept |= {f"d{number:03}": BootstrapConfig() for number in range(250)}
    found = await page(client, "/bootstrap", cache="no-store")
    assert "and 51 more" in found.text


async def test_a_device_is_asked_to_come(client: Client, bootstrap: FakeBootstrap) -> None:
    place = await send(client, f"{of(STRANGE)}/ask")
    assert bootstrap.asked == [STRANGE]
    assert "was asked and will come by itself" in (await page(client, place, cache="no-store")).text


async def test_a_device_that_cannot_come_is_told_of(client: Client, bootstrap: FakeBootstrap) -> None:
    bootstrap.outcome = Outcome("FAILED", "4.05", message="", hint="")
    assert "answered 4.05" in (await refused(client, f"{of(SENSOR)}/ask", 502, {})).text
    bootstrap.outcome = Outcome("FAILED", "", message="no answer", hint="it may sleep")
    assert "No answer. It may sleep." in (await refused(client, f"{of(SENSOR)}/ask", 502, {})).text
    bootstrap.outcome = UsageError("endpoint_offline", "it is not registered", "wait for it")
    found = await refused(client, f"{of(QUIET)}/ask", 409, {})
    assert "It is not registered. Wait for it." in found.text


async def test_who_is_not_registered_cannot_be_asked(client: Client) -> None:
    found = await page(client, of(QUIET), cache="no-store")
    assert "cannot be asked" in found.text
    assert found.all("disabled") == [""]
    assert (await page(client, of(SENSOR), cache="no-store")).all("disabled") == []
    assert "Ask it to bootstrap now" not in await see(client, "never seen")


async def test_a_disk_that_is_full_is_told_of(
    client: Client, bootstrap: FakeBootstrap, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("store_full", "the disk is full", "make room")

    monkeypatch.setattr(FakeBootstrap, "put_config", fail)
    for path, fields in (("", FORM), ("", {"json": "{}"}), ("/default", {})):
        found = await refused(client, f"/bootstrap{path}", 503, fields)
        assert "The disk is full" in found.text
        assert wrong(found) == []


async def test_a_device_page_leads_here(client: Client, bootstrap: FakeBootstrap) -> None:
    found = await page(client, device(STRANGE))
    assert of(STRANGE) in found.all("href")
    assert f"{of(STRANGE)}/ask" in found.all("action")
    assert "It gets what all devices get" in found.text
    bootstrap.kept[STRANGE] = BootstrapConfig()
    assert "It has settings of its own" in (await page(client, device(STRANGE))).text
