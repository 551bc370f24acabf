"""Registrations as Leshan's JSON has them; the link list is put together again of what is kept of it."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from ...lwm2m.links import Link, format_links
from ...lwm2m.paths import Path
from ...lwm2m.presence import Presence
from ...lwm2m.registration import Registration

_SMS: Final = "sms"
# The order of Leshan's letters; M and H came with LwM2M 1.2 and stand at the end.
_BINDINGS: Final = "UTSNQMH"
_QUOTED: Final = frozenset({"anchor", "if", "rt", "title", "uri"})
_ROOT_TYPE: Final = "oma.lwm2m"


class Presences(Protocol):
    """Of the fleet, what a registration's JSON needs."""

    def presence(self, endpoint: str) -> str: ...


def registration_json(registration: Registration, fleet: Presences) -> dict[str, Any]:
    """A registration. Times are ms since 1970; `sleeping` stands only with Queue Mode."""
    attributes = dict(registration.attributes)
    sms = attributes.pop(_SMS, None)
    told: dict[str, Any] = {
        "endpoint": registration.endpoint,
        "registrationId": registration.id,
        "registrationDate": registration.registered_ms,
        "lastUpdate": registration.updated_ms,
        "address": registration.address,
        "lwM2mVersion": registration.lwm2m_version,
        "lifetime": registration.lifetime_s,
        "bindingMode": binding_mode(registration),
        "rootPath": registration.root_path,
        "objectLinks": object_links(registration),
        "secure": bool(registration.session),
        "additionalRegistrationAttributes": attributes,
        "queuemode": registration.queue_mode,
        "availableInstances": {
            str(number): list(instances) for number, instances in registration.instances.items() if instances
        },
    }
    if sms is not None:
        told["smsNumber"] = sms
    if registration.queue_mode:
        told["sleeping"] = fleet.presence(registration.endpoint) != Presence.ONLINE
    return told


def binding_mode(registration: Registration) -> str:
    """The binding in Leshan's order of letters; in LwM2M 1.0 Queue Mode is one of them."""
    letters = registration.binding
    if registration.queue_mode and registration.lwm2m_version == "1.0":
        letters += "Q"
    return "".join(letter for letter in _BINDINGS if letter in letters)


def object_links(registration: Registration) -> list[dict[str, Any]]:
    """The links of a registration: its root where it told of one, its objects, their instances.

    An object stands by itself where it has a version or no instances, as clients write them.
    """
    root = registration.root_path.rstrip("/")
    links: list[dict[str, Any]] = []
    if root or registration.content_formats:
        formats = " ".join(map(str, registration.content_formats))
        attributes: dict[str, str | None] = {"rt": _ROOT_TYPE}
        if formats:
            attributes["ct"] = formats
        links.append(link_json(root or "/", attributes))
    for number, entry in registration.objects.items():
        if entry.version or not entry.instances:
            links.append(link_json(f"{root}/{number}", {"ver": entry.version} if entry.version else {}))
        links += [link_json(root + str(Path((number, instance))), {}) for instance in entry.instances]
    return links


def link_json(url: str, attributes: Mapping[str, str | None]) -> dict[str, Any]:
    """A link; an attribute's value is written as in the link list, so what was quoted is quoted."""
    return {
        "url": url,
        "attributes": {
            name: None if value is None else _written(name, value) for name, value in attributes.items()
        },
    }


def _written(name: str, value: str) -> str:
    if name in _QUOTED:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    # Quotes were taken away when the list was read; they stand where a value needs them.
    link = format_links([Link("/", {"a": value})]).decode()
    return link.removeprefix("</>;a=")
