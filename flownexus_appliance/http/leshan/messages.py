"""What happens in the house, in Leshan's words: the events of its streams.

REGISTRATION, DEREGISTRATION, UPDATED, AWAKE, SLEEPING, NOTIFICATION and SEND of the server, BSSESSION of the
bootstrap server, COAPLOG of the wire. Of several samples of a resource an event has the newest. There is no
REQUEST_RESPONSE: here every request is answered while it is waited for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec

from ...events import Event
from ...fleet.ports import Traced
from ...lwm2m.effects import Announce, Change, Report, Source
from ...lwm2m.presence import Presence
from ...lwm2m.registration import Registration
from ..ports import Fleet
from .nodes import node_of, nodes_by_path, nodes_by_record
from .registrations import object_links, registration_json

BOOTSTRAP_SESSION: Final = "BSSESSION"
_PRESENCES: Final = {Presence.ONLINE.value: "AWAKE", Presence.SLEEPING.value: "SLEEPING"}
# What a step of a bootstrap is with Leshan; those that a device is asked for are told when it has answered.
_REACHED: Final[Mapping[str, tuple[str, ...]]] = {
    "refused": ("unauthorized",),
    "requested": ("new session", "authorized"),
    "finished": ("finished",),
    "packed": ("finished",),
    "failed": ("failed",),
}
_ASKED: Final[Mapping[str, str]] = {
    "discover": "send discover",
    "delete": "send delete",
    "write": "send write",
    "read": "send request",
    "finish": "send request",
}


@dataclass(frozen=True, slots=True)
class Message:
    """An event of a stream, of an endpoint."""

    name: str
    endpoint: str
    data: Any

    def encode(self) -> bytes:
        """As it is written; JSON has no line breaks, so the data is one line."""
        return b"event: %b\r\ndata: %b\r\n\r\n" % (self.name.encode(), msgspec.json.encode(self.data))


def messages_of(event: Event, fleet: Fleet, *, floats_as_text: bool = False) -> Iterator[Message]:
    """What Leshan would tell of an event of the house: nothing, one message, or more."""
    match event.subject:
        case Announce() as announced:
            yield from _of_registration(announced, fleet)
        case Report(source=Source.NOTIFY) as report:
            yield _notification(report, fleet, floats_as_text)
        case Report(source=Source.SEND) as report:
            nodes = nodes_by_record(report.records, floats_as_text=floats_as_text)
            yield Message("SEND", report.endpoint, {"ep": report.endpoint, "val": nodes})
    if event.name == "presence":
        yield from _of_presence(event.data, fleet)
    elif event.name == "bootstrap":
        yield from _of_bootstrap(event.data)


def coap_log(traced: Traced, endpoint: str, now_ms: int) -> Message:
    """A CoAP message to or from a device."""
    told = {
        "timestamp": now_ms,
        "incoming": traced.incoming,
        "type": traced.kind,
        "code": traced.code,
        "mId": traced.message_id,
        "token": traced.token.hex(),
        "options": traced.options,
        "payload": _payload(traced.payload),
        "ep": endpoint,
    }
    return Message("COAPLOG", endpoint, {name: value for name, value in told.items() if value != ""})


def _of_registration(announced: Announce, fleet: Fleet) -> Iterator[Message]:
    now, before = announced.registration, announced.before
    if announced.change is Change.UPDATED:
        told = {"registration": registration_json(now, fleet), "update": _update(now, before)}
        yield Message("UPDATED", now.endpoint, told)
    elif announced.change is Change.REGISTERED:
        if before is not None and before.id == now.id:
            return  # the same Register once more
        if before is not None:
            yield Message("DEREGISTRATION", now.endpoint, registration_json(before, fleet))
        yield Message("REGISTRATION", now.endpoint, registration_json(now, fleet))
    else:
        yield Message("DEREGISTRATION", now.endpoint, registration_json(now, fleet))


def _update(now: Registration, before: Registration | None) -> dict[str, Any]:
    """What an Update brought; what it only repeated is not told from what it left out."""
    told: dict[str, Any] = {"registrationId": now.id, "address": now.address}
    if before is not None and now.lifetime_s != before.lifetime_s:
        told["lifetime"] = now.lifetime_s
    if before is not None and now.root_path != before.root_path:
        told["alternatePath"] = now.root_path
    if before is not None and now.objects != before.objects:
        told["objectLinks"] = object_links(now)
    return {**told, "secure": bool(now.session), "additionalAttributes": {}}


def _of_presence(data: Mapping[str, Any], fleet: Fleet) -> Iterator[Message]:
    endpoint, name = data["endpoint"], _PRESENCES.get(data["presence"])
    registration = fleet.registration(endpoint)
    if name is not None and registration is not None and registration.queue_mode:
        yield Message(name, endpoint, {"ep": endpoint})


def _notification(report: Report, fleet: Fleet, floats_as_text: bool) -> Message:
    told: dict[str, Any] = {"ep": report.endpoint, "kind": "composite" if report.composite else "single"}
    if report.composite:
        told["val"] = nodes_by_path(report.paths, report.records, floats_as_text=floats_as_text)
        told["paths"] = [str(path) for path in report.paths]
    else:
        path, types = report.paths[0], partial(fleet.type_of, report.endpoint)
        told["res"] = str(path)
        told["val"] = node_of(path, report.records, floats_as_text=floats_as_text, types=types)
    return Message("NOTIFICATION", report.endpoint, told)


def _of_bootstrap(data: Mapping[str, Any]) -> Iterator[Message]:
    step, path = data["step"], data.get("path", "")
    if step in _ASKED:
        yield _bootstrap(data, _ASKED[step], f"{step} {path}".rstrip())
        yield _bootstrap(data, f"receive {'success' if data['ok'] else 'error'} response", data["message"])
    for name in _REACHED.get(step, ()):
        yield _bootstrap(data, name, data["message"])


def _bootstrap(data: Mapping[str, Any], name: str, message: str) -> Message:
    endpoint = data["endpoint"]
    told = {"name": name, "endpoint": endpoint, "time": data["time_ms"], "message": message}
    return Message(BOOTSTRAP_SESSION, endpoint, told)


def _payload(payload: bytes | None) -> str:
    if payload is None:
        return "not shown: it may hold keys"
    text = payload.decode("ascii", "replace")
    printable = text.isascii() and text.isprintable()
    return text if printable else f"Hex:{payload.hex()}"
