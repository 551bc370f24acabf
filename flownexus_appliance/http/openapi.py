"""The description of the API as OpenAPI 3.1.0, made of its routes and their types.

It owns nothing but what it says of names in paths and of tags; a route says the rest of itself. Schemas are
msgspec's, which are JSON Schema 2020-12 as OpenAPI 3.1 has it; docstrings become their descriptions.
"""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from inspect import cleandoc
from typing import Any, Final

import msgspec

from .. import __version__
from ..lwm2m.paths import MAX_ID
from . import routes
from .errors import ErrorAnswer
from .routes import Answer, Query, Route

VERSION: Final = "3.1.0"
TOKEN: Final = "token"
# Where operations are described; a route stands under one of them.
TAGS: Final[Mapping[str, str]] = {
    "devices": "Devices, their state and what they have registered",
    "resources": "The newest values, series of samples, history and export",
    "operations": "What is asked of devices; it waits for those that sleep",
    "observations": "What devices report by themselves",
    "firmware": "Packages, updates of devices by them, and campaigns of many updates",
    "models": "What objects and resources mean: the OMA registry's, and those of your own",
    "credentials": "Who devices are, and how they enrol",
    "certificates": "The box's own certificates and roots",
    "bootstrap": "What devices are given at bootstrap",
    "people": "Who may use the box, their sessions and tokens, and who changed what",
    "box": "The box itself, and what happens in it",
}
# What the names in paths mean: the same everywhere.
PARAMETERS: Final[Mapping[str, tuple[dict[str, Any], str]]] = {
    "endpoint": (
        {"type": "string", "minLength": 1},
        "Endpoint Client Name, percent-encoded as one segment",
    ),
    "path": (
        {"type": "string", "pattern": r"^/?\d+(/\d+){0,3}/?$"},
        "LwM2M path with its slashes as they are: 3303/0/5700",
    ),
    "id": ({"type": "integer", "minimum": 1}, "Number of what is named before it"),
    "name": ({"type": "string", "minLength": 1, "maxLength": 32}, "Name of a user"),
    "object_id": ({"type": "integer", "minimum": 0, "maximum": MAX_ID}, "Object id"),
    "version": ({"type": "string", "pattern": r"^\d+\.\d+$"}, "Object version, such as 1.0"),
}
_SCHEMA: Final = "#/components/schemas/{name}"
_JSON_TYPES: Final[Mapping[type, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def document(described: Sequence[Route]) -> dict[str, Any]:
    """The whole description. Raises KeyError for a name in a path that is not in `PARAMETERS`."""
    schemas = _Schemas(_types(described))
    paths: dict[str, dict[str, Any]] = {}
    for route in described:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route, schemas)
    used = {route.tag for route in described}
    return {
        "openapi": VERSION,
        "info": {
            "title": "FlowNexus appliance",
            "version": __version__,
            "description": "Times are ms since 1970 UTC. Lists give `next`, which goes into `after`.",
        },
        "servers": [{"url": "/", "description": "The box that serves this description"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {
                "Error": {
                    "description": "What is wrong, and what helps",
                    "content": {routes.JSON: {"schema": schemas.of(ErrorAnswer)}},
                }
            },
            "securitySchemes": {
                TOKEN: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token: flownexus token add, or the account page. The role beside"
                    " it is the least that an address asks for: viewer, operator or admin.",
                }
            },
        },
    }


class _Schemas:
    """Schemas of types: a reference into the components where a type has a name."""

    def __init__(self, types: Sequence[Any]) -> None:
        found, self.components = msgspec.json.schema_components(types, ref_template=_SCHEMA)
        self._found = list(zip(types, found, strict=True))
        for schema in self.components.values():
            if "description" in schema:
                schema["description"] = cleandoc(schema["description"])

    def of(self, wanted: Any) -> dict[str, Any]:
        # Types such as dict[str, Any] are equal where they are not the same, and not all can be a key.
        return next(schema for one, schema in self._found if one == wanted)


def _types(described: Iterable[Route]) -> list[Any]:
    """Every type that the routes name."""
    types: list[Any] = [ErrorAnswer]
    for route in described:
        if route.body is not None:
            types.append(route.body)
        for answer in route.answers:
            types += [] if answer.type is None else [answer.type]
            types += answer.events.values()
    return types


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [
            *(_path_parameter(name) for name in route.parameters),
            *(_parameter(query, "query") for query in route.query),
            *(_parameter(header, "header") for header in route.headers),
        ],
        # With a role where the scheme has no scopes: OpenAPI 3.1.0, 4.8.30.
        "security": [] if route.role is None else [{TOKEN: [str(route.role)]}],
        "responses": {
            **_responses(route.answers, schemas),
            "default": {"$ref": "#/components/responses/Error"},
        },
    }
    if route.help:
        described["description"] = route.help
    if route.takes_body:
        schema = {"schema": schemas.of(route.body)} if route.body is not None else {}
        described["requestBody"] = {
            "required": not route.body_optional,
            "content": {media: schema or _plain(media) for media in route.body_media},
        }
    return described


def _path_parameter(name: str) -> dict[str, Any]:
    schema, text = PARAMETERS[name]
    return {"name": name, "in": "path", "required": True, "description": text, "schema": dict(schema)}


def _parameter(query: Query, where: str) -> dict[str, Any]:
    said = {
        "type": _JSON_TYPES[query.type],
        "enum": list(query.values) or None,
        "default": query.default,
        "minimum": query.low,
        "maximum": query.high,
    }
    schema: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if query.repeated:
        schema = {"type": "array", "items": schema}
    described: dict[str, Any] = {"name": query.name, "in": where, "description": query.help, "schema": schema}
    if query.required:
        described["required"] = True
    if query.type is bool:
        described["allowEmptyValue"] = True
    return described


def _responses(answers: Iterable[Answer], schemas: _Schemas) -> dict[str, Any]:
    """By status; one status may have answers in several media types."""
    described: dict[str, Any] = {}
    for answer in answers:
        one = described.setdefault(str(int(answer.status)), {"description": "", "content": {}})
        text = answer.help or HTTPStatus(answer.status).phrase
        one["description"] = "; ".join(filter(None, (one["description"], text)))
        for media in answer.media:
            content = {"schema": schemas.of(answer.type)} if answer.type is not None else _plain(media)
            if answer.events:
                content["x-events"] = {name: schemas.of(data) for name, data in answer.events.items()}
            one["content"][media] = content
        for name, text in answer.headers.items():
            header = {"description": text, "schema": {"type": "string"}}
            one.setdefault("headers", {})[name] = header
    return described


def _plain(media: str) -> dict[str, Any]:
    """What is no JSON: text where it is text, else bytes, of which OpenAPI says nothing more."""
    return {"schema": {"type": "string"}} if media.startswith("text/") else {}
