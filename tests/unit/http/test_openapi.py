"""The description of the API: a sound document, of what is served and nothing else, whose types are true."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import msgspec
import pytest
from aiohttp import web
from multidict import MultiDictProxy
from yarl import URL

from flownexus_appliance.http import api, openapi
from flownexus_appliance.http.errors import ErrorAnswer
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.routes import JSON, Answer, Route
from flownexus_appliance.http.server import build_app
from flownexus_appliance.lwm2m.paths import Path

from .conftest import Client
from .house import SENSOR, FakeFleet, FakeReporting
from .people import PASSWORD

METHODS: Final = frozenset({"get", "put", "post", "patch", "delete"})
SOIL: Final = (
    b"<LWM2M><Object><Name>Soil</Name><ObjectID>33010</ObjectID><MultipleInstances>Multiple</MultipleInstances>"
    b'<Mandatory>Optional</Mandatory><Resources><Item ID="7"><Name>Moisture</Name><Operations>R</Operations>'
    b"<MultipleInstances>Single</MultipleInstances><Mandatory>Optional</Mandatory><Type>Float</Type></Item>"
    b"</Resources></Object></LWM2M>"
)
TEMPERATURE: Final = Path.of(3303, 0, 5700)
ONE: Final = f"/endpoints/{quote(SENSOR, safe='')}"
READ: Final = {"operation": "read", "path": "/3/0"}


@dataclass(frozen=True, slots=True)
class Call:
    """A request that a route answers as it should: the address below /api/v1, what it brings, the status."""

    path: str
    body: Any = None
    status: int = HTTPStatus.OK
    media: str = "application/xml"  # of a body of bytes


# In this order: what one makes, the next may need.
CALLS: Final[Mapping[str, Call]] = {
    "get_endpoints": Call("/endpoints"),
    "get_tags": Call("/tags"),
    "get_endpoints_endpoint": Call(ONE),
    "patch_endpoints_endpoint": Call(ONE, {"label": "Shed", "awake_window_s": 30}),
    "get_endpoints_endpoint_resources": Call(f"{ONE}/resources"),
    "get_endpoints_endpoint_resources_path": Call(f"{ONE}/resources/3303/0"),
    "get_endpoints_endpoint_series_path": Call(f"{ONE}/series/3303/0/5700"),
    "get_sparklines": Call(f"/sparklines?series=/3303/0/5700:{quote(SENSOR)}"),
    "get_endpoints_endpoint_history_path": Call(f"{ONE}/history/3303/0/5700"),
    "get_endpoints_endpoint_export": Call(f"{ONE}/export"),
    "post_endpoints_endpoint_operations": Call(f"{ONE}/operations", READ, HTTPStatus.ACCEPTED),
    "get_endpoints_endpoint_operations": Call(f"{ONE}/operations"),
    "get_operations": Call("/operations"),
    "get_operations_id": Call("/operations/1"),
    "delete_operations_id": Call("/operations/1"),
    "post_operations_id_retry": Call("/operations/1/retry", None, HTTPStatus.ACCEPTED),
    "get_endpoints_endpoint_observations": Call(f"{ONE}/observations"),
    "post_endpoints_endpoint_observations": Call(
        f"{ONE}/observations", {"path": "/3303/0/5700", "attributes": {"pmin": 10}}, HTTPStatus.ACCEPTED
    ),
    "delete_endpoints_endpoint_observations": Call(
        f"{ONE}/observations?path=/3303/0/5700", None, HTTPStatus.ACCEPTED
    ),
    "post_firmware": Call(
        "/firmware?version=1.5.0", b"firmware", HTTPStatus.CREATED, "application/octet-stream"
    ),
    "get_firmware": Call("/firmware"),
    "get_firmware_id": Call("/firmware/1"),
    "patch_firmware_id": Call("/firmware/1", {"version": "1.6.0", "note": "Mends the clock", "tag": "field"}),
    "get_firmware_id_package": Call("/firmware/1/package"),
    "post_endpoints_endpoint_updates": Call(
        f"{ONE}/updates",
        {"firmware": 1, "delivery": "coaps", "instance": "/5/0", "anyway": True},
        HTTPStatus.CREATED,
    ),
    "get_updates": Call("/updates"),
    "get_updates_id": Call("/updates/1"),
    "delete_updates_id": Call("/updates/1"),
    "post_updates_id_retry": Call("/updates/1/retry", None, HTTPStatus.CREATED),
    "post_campaigns_preview": Call("/campaigns/preview", {"firmware": 1, "version": "1.4.2"}),
    "post_campaigns": Call(
        "/campaigns",
        {"firmware": 1, "name": "Field", "endpoints": ["sleeper"], "at_once": 5, "failure_limit": 20},
        HTTPStatus.CREATED,
    ),
    "get_campaigns": Call("/campaigns"),
    "get_campaigns_id": Call("/campaigns/1"),
    "patch_campaigns_id": Call("/campaigns/1", {"state": "PAUSED"}),
    "post_models": Call("/models", SOIL, HTTPStatus.CREATED),
    "get_models": Call("/models?q=33010"),
    "get_models_object_id": Call("/models/33010"),
    "delete_models_object_id_version": Call("/models/33010/1.0"),
    "post_endpoints": Call("/endpoints", {"endpoint": "kitchen"}, HTTPStatus.CREATED),
    "post_endpoints_endpoint_credentials": Call(
        f"{ONE}/credentials", {"kind": "certificate"}, HTTPStatus.CREATED
    ),
    "get_endpoints_endpoint_credentials": Call(f"{ONE}/credentials"),
    "get_credentials": Call("/credentials"),
    "post_credentials_id_renew": Call("/credentials/1/renew", {}, HTTPStatus.CREATED),
    "delete_credentials_id": Call("/credentials/1"),
    "delete_endpoints_endpoint_credentials": Call(f"{ONE}/credentials"),
    "post_enrolment": Call("/enrolment", {"minutes": 5}, HTTPStatus.CREATED),
    "get_enrolment": Call("/enrolment"),
    "delete_enrolment": Call("/enrolment"),
    "get_certificates": Call("/certificates"),
    "post_certificates_rotate": Call("/certificates/rotate"),
    "post_certificates_roll_over": Call("/certificates/roll-over", {"days": 30}),
    "post_certificates_roll_over_finish": Call("/certificates/roll-over/finish"),
    "get_certificates_ca_pem": Call("/certificates/ca.pem"),
    "get_certificates_ca_der": Call("/certificates/ca.der"),
    "put_bootstrap": Call("/bootstrap", {"security": "psk", "delete": ["/0"], "writes": {"/3/0/15": "UTC"}}),
    "put_bootstrap_endpoint": Call(
        "/bootstrap/kitchen",
        {
            "servers": {"0": {"shortId": 1, "lifetime": 300, "binding": "U"}},
            "security": {
                "1": {
                    "uri": "coaps://box",
                    "securityMode": "PSK",
                    "publicKeyOrId": [97],
                    "secretKey": [1] * 16,
                    "serverId": 1,
                }
            },
        },
    ),
    "get_bootstrap": Call("/bootstrap"),
    "get_bootstrap_endpoint": Call("/bootstrap/kitchen"),
    "delete_bootstrap_endpoint": Call("/bootstrap/kitchen"),
    "delete_bootstrap": Call("/bootstrap"),
    "post_endpoints_endpoint_bootstrap": Call(f"{ONE}/bootstrap"),
    "get_account": Call("/account"),
    "post_account_password": Call(
        "/account/password", {"old": PASSWORD, "new": "three dry camels"}, HTTPStatus.NO_CONTENT
    ),
    "get_sessions": Call("/sessions?user="),
    "delete_sessions_id": Call("/sessions/1"),
    "post_users": Call(
        "/users", {"name": "nora", "role": "viewer", "password": "five old goats"}, HTTPStatus.CREATED
    ),
    "get_users": Call("/users"),
    "get_users_name": Call("/users/nora"),
    "patch_users_name": Call("/users/nora", {"role": "operator", "password": "six tame hens"}),
    "post_tokens": Call(
        "/tokens",
        {"name": "script", "role": "operator", "expires_days": 90, "user": "nora"},
        HTTPStatus.CREATED,
    ),
    "get_tokens": Call("/tokens?user=nora"),
    "delete_tokens_id": Call("/tokens/1"),
    "delete_users_name": Call("/users/nora"),
    "get_audit": Call("/audit"),
    "get_status": Call("/status"),
    "get_system": Call("/system"),
    "get_settings": Call("/settings"),
    "patch_settings": Call("/settings", {"settings": {"log.level": "debug", "coap.networks": []}}),
    "post_restart": Call("/restart", status=202),
    "get_log": Call("/log"),
    "get_openapi_json": Call("/openapi.json"),
    "get_healthz": Call("/../../healthz"),
}
# Not reached by a call, and why.
APART: Final[Mapping[str, str]] = {
    "delete_firmware_id": "its updates have to end first; test_api_firmware.py has it",
    "get_stream": "it never ends; test_stream.py holds its messages to their types",
    "get_setup_code": "there is none any more once somebody may ask; test_api_people.py has it",
}


@cache
def routes() -> Mapping[str, Route]:
    return {route.name: route for route in api.routes()}


@cache
def document() -> Any:
    """As it is served: through JSON."""
    return json.loads(msgspec.json.encode(openapi.document(api.routes())))


def operations() -> Iterator[tuple[str, str, Any]]:
    """Every operation of the document with its method and path."""
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def everything(node: object) -> Iterator[Any]:
    """Every object in a JSON document."""
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from everything(child)
    elif isinstance(node, list):
        for child in node:
            yield from everything(child)


async def call(client: Client, name: str, wanted: Call) -> tuple[int, str, bytes, Mapping[str, str]]:
    """Ask; status, media type, body, headers."""
    raw = isinstance(wanted.body, bytes)
    url = URL(f"/api/v1{wanted.path}".replace("/api/v1/../..", ""), encoded=True)
    async with client.request(
        routes()[name].method,
        url,
        data=wanted.body if raw else None,
        json=None if raw else wanted.body,
        headers={"Content-Type": wanted.media} if raw else None,
    ) as response:
        return response.status, response.content_type, await response.read(), dict(response.headers)


# The document


def test_the_document_is_openapi_and_says_whose() -> None:
    assert document()["openapi"] == "3.1.0"
    assert set(document()) == {"openapi", "info", "servers", "tags", "paths", "components"}
    assert document()["info"]["version"]
    assert document()["servers"][0]["url"] == "/"


def test_every_reference_leads_somewhere() -> None:
    references = {node["$ref"] for node in everything(document()) if "$ref" in node}
    assert len(references) > 30
    for reference in references:
        root, *steps = reference.split("/")
        assert root == "#"
        found = document()
        for step in steps:
            found = found[step]


def test_every_schema_is_used() -> None:
    used = {node["$ref"].rpartition("/")[2] for node in everything(document()) if "$ref" in node}
    assert set(document()["components"]["schemas"]) <= used


def test_every_name_in_a_path_is_declared() -> None:
    for method, path, operation in operations():
        declared = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
        assert declared == [part[1:-1] for part in path.split("/") if part.startswith("{")], (method, path)
        assert ":" not in path


def test_every_parameter_is_whole() -> None:
    for _, path, operation in operations():
        names = [(one["in"], one["name"]) for one in operation["parameters"]]
        assert len(names) == len(set(names)), path
        for one in operation["parameters"]:
            assert one["in"] in ("path", "query", "header")
            assert one.get("required", False) is (one["in"] == "path" or one["name"] == "series")
            assert one["description"]
            assert one["schema"]["type"] in ("string", "integer", "number", "boolean", "array")


def test_every_operation_has_a_name_of_its_own_and_a_group() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names)) == len(routes())
    groups = {tag["name"] for tag in document()["tags"]}
    assert all(tag["description"] for tag in document()["tags"])
    for method, path, operation in operations():
        assert method in METHODS
        assert operation["tags"][0] in groups, path
        assert operation["summary"]


def test_every_body_and_answer_says_its_media_type() -> None:
    for _, path, operation in operations():
        good = {status: one for status, one in operation["responses"].items() if status != "default"}
        assert good, path
        assert all(200 <= int(status) < 300 for status in good)
        assert operation["responses"]["default"] == {"$ref": "#/components/responses/Error"}
        for one in [*good.values(), *([operation["requestBody"]] if "requestBody" in operation else [])]:
            assert one["content"] or one is operation["responses"].get("204"), path
            assert all("/" in media for media in one["content"])
            assert all("schema" in said for media, said in one["content"].items() if media == JSON)
        assert all(one["description"] for one in good.values())


def test_descriptions_come_from_the_code() -> None:
    schemas = document()["components"]["schemas"]
    assert schemas["ErrorAnswer"]["description"] == ErrorAnswer.__doc__
    assert "\n    " not in schemas["OperationRequest"]["description"]


def test_a_name_in_a_path_that_nobody_explained_is_found() -> None:
    route = Route("GET", "/api/v1/{unheard_of}", api.health, "", "box")
    with pytest.raises(KeyError):
        openapi.document([route])


def test_one_status_may_have_several_media_types() -> None:
    answers = (
        Answer(dict[str, int], help="Plain"),
        Answer(media=("text/csv",), headers={"X-Rows": "How many"}),
    )
    route = Route("GET", "/api/v1/things", api.health, "", "box", answers)
    (described,) = openapi.document([route])["paths"].values()
    assert described["get"]["responses"]["200"] == {
        "description": "Plain; OK",
        "content": {
            JSON: {"schema": {"type": "object", "additionalProperties": {"type": "integer"}}},
            "text/csv": {"schema": {"type": "string"}},
        },
        "headers": {"X-Rows": {"description": "How many", "schema": {"type": "string"}}},
    }


# What is served


async def test_what_is_served_is_described_and_the_other_way_round(parts: Parts, client: Client) -> None:
    served = {
        (route.method, route.resource.canonical)
        for route in build_app(parts).router.routes()
        if route.resource is not None
        and (route.resource.canonical.startswith("/api/v1") or route.resource.canonical == "/healthz")
        and route.method != "HEAD"  # comes with every GET
    }
    assert served == {(method.upper(), path) for method, path, _ in operations()}
    _, media, body, headers = await call(client, "get_openapi_json", CALLS["get_openapi_json"])
    assert (media, json.loads(body)) == (JSON, document())
    assert headers["Cache-Control"] == "no-store"


def test_every_route_is_called_below() -> None:
    assert set(CALLS) | set(APART) == set(routes())
    assert not set(CALLS) & set(APART)


async def test_every_answer_is_of_its_declared_type(client: Client, fleet: FakeFleet) -> None:
    fleet.reports[SENSOR] = [FakeReporting((TEMPERATURE,))]
    fleet.set_attributes[SENSOR] = {TEMPERATURE: {"pmin": "10"}}
    for name, wanted in CALLS.items():
        route = routes()[name]
        if wanted.body is not None:
            assert route.takes_body, name
        status, media, body, headers = await call(client, name, wanted)
        assert status == wanted.status, (name, body)
        if status == HTTPStatus.NO_CONTENT:
            assert [(answer.status, answer.media) for answer in route.answers] == [(status, ())], name
            assert body == b"", name
            continue
        declared = [answer for answer in route.answers if answer.status == status and media in answer.media]
        assert len(declared) == 1, (name, status, media)
        if media == JSON:
            fits(json.loads(body), declared[0].type)
        assert body, name
        assert {header.lower() for header in declared[0].headers} <= {one.lower() for one in headers}, name


async def test_an_export_as_ndjson_is_of_its_declared_type(client: Client) -> None:
    wanted = Call(f"{CALLS['get_endpoints_endpoint_export'].path}?format=ndjson")
    _, media, body, _ = await call(client, "get_endpoints_endpoint_export", wanted)
    (declared,) = (one for one in routes()["get_endpoints_endpoint_export"].answers if media in one.media)
    lines = body.splitlines()
    assert len(lines) > 1000
    for line in lines[:20]:
        fits(json.loads(line), declared.type)


@pytest.mark.parametrize("name", [name for name, wanted in CALLS.items() if isinstance(wanted.body, dict)])
def test_every_body_that_is_taken_is_of_its_declared_type(name: str) -> None:
    wanted = CALLS[name].body
    taken = msgspec.to_builtins(msgspec.convert(wanted, routes()[name].body))
    assert {field: taken[field] for field in wanted} == wanted


def fits(data: object, declared: Any) -> None:
    """Whether JSON is of a type, with nothing in it that the type does not have."""
    assert declared is not None
    assert json.loads(msgspec.json.encode(msgspec.convert(data, declared))) == data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"error": "a", "message": "b", "hint": "c", "more": 1}, "assert"),
        ({"error": "a", "message": "b"}, "missing required field `hint`"),
        ({"error": "a", "message": "b", "hint": None}, "Expected `str`, got `null`"),
    ],
)
def test_what_does_not_fit_is_found(data: object, words: str) -> None:
    with pytest.raises((AssertionError, msgspec.ValidationError), match=words):
        fits(data, ErrorAnswer)


async def test_every_error_has_the_declared_shape(client: Client) -> None:
    for path, status in (("/nothing", 404), ("/endpoints?limit=x", 400), ("/models/1?version=9.9", 404)):
        async with client.get(URL(f"/api/v1{path}", encoded=True)) as response:
            assert response.status == status
            fits(await response.json(), ErrorAnswer)


# Queries


class Noted:
    """The query of a request, noting what is asked of it."""

    def __init__(self, query: MultiDictProxy[str], asked: set[str]) -> None:
        self._query = query
        self._asked = asked

    def get(self, name: str, default: Any = None) -> Any:
        self._asked.add(name)
        return self._query.get(name, default)

    def getall(self, name: str, default: Any = None) -> Any:
        self._asked.add(name)
        return self._query.getall(name, default)

    def __contains__(self, name: str) -> bool:
        self._asked.add(name)
        return name in self._query


async def test_handlers_read_what_is_declared_of_the_query_and_nothing_else(
    client: Client, fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.reports[SENSOR] = [FakeReporting((TEMPERATURE,))]
    asked: set[str] = set()
    monkeypatch.setattr(
        web.BaseRequest, "query", property(lambda request: Noted(request.rel_url.query, asked))
    )
    for name, wanted in CALLS.items():
        asked.clear()
        status, *_ = await call(client, name, wanted)
        assert status == wanted.status, name
        assert asked == {query.name for query in routes()[name].query}, name


async def test_words_and_numbers_of_the_query_are_those_declared(client: Client, fleet: FakeFleet) -> None:
    fleet.reports[SENSOR] = [FakeReporting((TEMPERATURE,))]
    for name in CALLS:
        for query in routes()[name].query:
            for text, good in texts_of(name, query.name):
                path = CALLS[name].path
                wanted = Call(f"{path}{'&' if '?' in path else '?'}{query.name}={text}", CALLS[name].body)
                status, _, body, _ = await call(client, name, wanted)
                refused = status == 400 and json.loads(body)["error"] == "query_invalid"
                assert refused is not good, (name, query.name, text, body[:200])
        await call(client, name, CALLS[name])


def texts_of(name: str, query_name: str) -> Iterator[tuple[str, bool]]:
    """What may stand in a query, and what not, by its declaration."""
    query = next(one for one in routes()[name].query if one.name == query_name)
    if query.values:
        yield "unheard-of", False
        yield from ((word, True) for word in query.values)
    if query.type is int:
        yield "x", False
        if query.default is not None:
            yield str(query.default), True
        if query.low is not None and query.high is not None:
            yield from ((str(int(query.low)), True), (str(int(query.low) - 1), False))
            yield from ((str(int(query.high)), True), (str(int(query.high) + 1), False))
    if query.type is bool:
        yield from (("", True), ("perhaps", False))
