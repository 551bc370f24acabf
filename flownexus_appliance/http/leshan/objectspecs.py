"""Leshan's `objectspecs`: the models of a device's objects, by the versions that it registered.

Descriptions are empty: the registry's facts, which this box has, do not include its prose.
"""

from typing import Any, Final

from aiohttp import web

from ...lwm2m.model import DEFAULT_VERSION, ObjectDefinition, ResourceDefinition
from ..answers import json_answer
from ..routes import Place, page
from .answers import invalid_path, plain_errors
from .asking import asking_of
from .values import TYPES

# The registry's classes of objects by their first id (OMA LwM2M registry); what is above is a vendor's own.
_CLASSES: Final = ((10241, "x"), (2048, "ext"), (0, "oma"))


def routes(base: str) -> list[Place]:
    """The routes below `base`, such as /leshan/api."""
    return [page(f"{base}/objectspecs/{{endpoint}}{{rest:(?:/.*)?}}", show_models)]


@plain_errors
async def show_models(request: web.Request) -> web.Response:
    """The models of all objects that the device registered and a model is known of."""
    asking = asking_of(request)
    if asking.tail:
        raise invalid_path()
    registration = asking.parts.fleet.registration(asking.endpoint)
    objects = {} if registration is None else registration.objects
    found = (
        asking.parts.models.object(number, entry.version or DEFAULT_VERSION)
        for number, entry in sorted(objects.items())
    )
    return json_answer([object_json(one) for one in found if one is not None])


def object_json(definition: ObjectDefinition) -> dict[str, Any]:
    """An object's model."""
    return {
        "id": definition.object_id,
        "name": definition.name,
        "instancetype": _count(definition.multiple),
        "mandatory": definition.mandatory,
        "urn": _urn(definition),
        "version": definition.version,
        "lwm2mversion": definition.lwm2m_version,
        "description": "",
        "description2": "",
        "resourcedefs": [_resource_json(one) for one in definition.resources.values()],
    }


def _resource_json(resource: ResourceDefinition) -> dict[str, Any]:
    return {
        "id": resource.resource_id,
        "name": resource.name,
        "operations": resource.operations or "NONE",
        "instancetype": _count(resource.multiple),
        "mandatory": resource.mandatory,
        "type": TYPES[resource.data_type].lower(),
        "range": resource.range_text or "",
        "units": resource.units or "",
        "description": "",
    }


def _count(multiple: bool) -> str:
    return "multiple" if multiple else "single"


def _urn(definition: ObjectDefinition) -> str:
    """The name of an object version; version 1.0 goes without saying."""
    label = next(label for first, label in _CLASSES if definition.object_id >= first)
    version = "" if definition.version == DEFAULT_VERSION else f":{definition.version}"
    return f"urn:oma:lwm2m:{label}:{definition.object_id}{version}"
