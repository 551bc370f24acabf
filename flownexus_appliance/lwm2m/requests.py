"""What a client asks on the Registration interface, read from its query and link list.

LwM2M Transport 1.1.1 section 6.4.3 (Register, Update, Deregister over CoAP); LwM2M Core 1.1.1
section 6.2.1 (parameters) and 7.2 (object versions, alternate path). What the recorded clients
really send is in tests/vectors/register.json.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..errors import ApplianceError, PeerError, clean
from .links import Link, parse_links
from .paths import MAX_ID
from .registration import DEFAULT_LIFETIME_S, RegisteredObject

SUPPORTED_VERSIONS: Final = ("1.0", "1.1", "1.2")
MAX_ENDPOINT_BYTES: Final = 255
MAX_LIFETIME_S: Final = 0xFFFFFFFF
MAX_ATTRIBUTES: Final = 16
_VERSION = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}")
_BINDING = re.compile(r"[UTSNMHQ]{1,8}")


@dataclass(frozen=True, slots=True)
class ObjectList:
    """What a link list says: objects and instances, alternate path, formats the client prefers."""

    objects: Mapping[int, RegisteredObject]
    root_path: str = "/"
    content_formats: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RegisterRequest:
    endpoint: str
    lwm2m_version: str
    lifetime_s: int
    binding: str
    queue_mode: bool
    object_list: ObjectList
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """An Update: None means "as before"."""

    lifetime_s: int | None = None
    binding: str | None = None
    queue_mode: bool | None = None
    object_list: ObjectList | None = None


def named_endpoint(query: Sequence[str], proven: str | None = None) -> str:
    """The endpoint that a request is about: its `ep=`, else the `proven` one, of its session.

    Raises PeerError: `endpoint_missing`, `endpoint_invalid`, `query_invalid`.
    """
    return check_endpoint(read_query(query).get("ep") or proven)


def parse_register(query: Sequence[str], payload: bytes, proven: str | None = None) -> RegisterRequest:
    """Read a Register; a name that it leaves out is the `proven` one, of its session.

    LwM2M Core 1.1.1 section 6.2.1: a client that its credential names may leave `ep` out.
    Raises PeerError: `endpoint_missing`, `endpoint_invalid`, `version_missing`, `version_invalid`,
    `version_unsupported`, `lifetime_invalid`, `binding_invalid`, `links_invalid`, `query_invalid`.
    """
    parameters = read_query(query)
    version = parameters.pop("lwm2m", None)
    if version is None:
        raise PeerError("version_missing", "Register without lwm2m=", "send lwm2m=1.0, 1.1 or 1.2")
    if not _VERSION.fullmatch(version):
        raise PeerError("version_invalid", f"not a LwM2M version: {clean(version)}", "send lwm2m=1.1")
    if version not in SUPPORTED_VERSIONS:
        raise PeerError(
            "version_unsupported",
            f"LwM2M version {clean(version)} is not supported",
            "configure the client for LwM2M 1.0, 1.1 or 1.2",
        )
    endpoint = check_endpoint(parameters.pop("ep", None) or proven)
    lifetime_s = _lifetime(parameters.pop("lt", None))
    binding, queue_mode = _binding(parameters)
    return RegisterRequest(
        endpoint=endpoint,
        lwm2m_version=version,
        lifetime_s=DEFAULT_LIFETIME_S if lifetime_s is None else lifetime_s,
        binding=binding,
        queue_mode=queue_mode,
        object_list=_objects(payload),
        attributes=parameters,
    )


def parse_update(query: Sequence[str], payload: bytes) -> UpdateRequest:
    """Read an Update; the errors are those of `parse_register`, parameters it does not know pass."""
    parameters = read_query(query)
    told = bool(parameters.get("b"))
    binding, queue_mode = _binding(parameters)
    return UpdateRequest(
        lifetime_s=_lifetime(parameters.get("lt")),
        binding=binding if told else None,
        queue_mode=True if queue_mode else None,
        object_list=_objects(payload) if payload else None,
    )


def read_object_list(payload: bytes) -> ObjectList:
    """Read the objects of a Register or Update; links that are no LwM2M paths are passed over.

    Raises PeerError("links_invalid").
    """
    links = parse_links(payload)
    root = next(filter(_is_marked_root, links), None) or next(filter(_is_plain_root, links), None)
    root_path = root.target if root is not None and root.target.startswith("/") else "/"
    content_formats = () if root is None else _content_formats(root.attributes.get("ct"))
    versions: dict[int, str] = {}
    instances: dict[int, set[int]] = {}
    for link in links:
        ids = _ids_below(root_path, link.target)
        if ids is None:
            continue
        known = instances.setdefault(ids[0], set())
        if len(ids) == 2:
            known.add(ids[1])
        version = link.attributes.get("ver")
        if version and _VERSION.fullmatch(version):
            versions[ids[0]] = version
    objects = {
        number: RegisteredObject(versions.get(number, ""), tuple(sorted(found)))
        for number, found in sorted(instances.items())
    }
    return ObjectList(objects, root_path, content_formats)


def _objects(payload: bytes) -> ObjectList:
    object_list = read_object_list(payload)
    if not object_list.objects:
        raise PeerError("links_invalid", "a link list without objects", "send the links of all objects")
    return object_list


def read_query(query: Sequence[str]) -> dict[str, str]:
    """The parameters of a query by name; raises PeerError("query_invalid")."""
    parameters: dict[str, str] = {}
    if len(query) > MAX_ATTRIBUTES:
        raise PeerError("query_invalid", f"{len(query)} query parameters", "send at most 16")
    for item in query:
        name, _, value = item.partition("=")
        if not name or name in parameters:
            raise PeerError(
                "query_invalid",
                f"empty or repeated query parameter: {clean(item)}",
                "send each parameter once",
            )
        parameters[name] = value
    return parameters


def check_endpoint(name: str | None, error: type[ApplianceError] = PeerError) -> str:
    """Check an Endpoint Client Name; raises `error`: `endpoint_missing`, `endpoint_invalid`."""
    if not name:
        raise error("endpoint_missing", "a request without an endpoint name", "send ep=<name>")
    if not name.isprintable() or len(name.encode()) > MAX_ENDPOINT_BYTES or name != name.strip():
        raise error(
            "endpoint_invalid",
            f"endpoint name not usable: {clean(name)}",
            "use at most 255 bytes of printable characters without spaces at the ends",
        )
    return name


def _lifetime(text: str | None) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_LIFETIME_S:
        # LwM2M 1.2, object 1, resource 1: 0 is "infinite"; 136 years will do.
        return int(text) or MAX_LIFETIME_S
    raise PeerError("lifetime_invalid", f"not a lifetime: {clean(text)}", "send lt=<seconds>")


def _binding(parameters: dict[str, str]) -> tuple[str, bool]:
    """Binding without Q, and Queue Mode: `b=UQ` in 1.0, a bare `Q` since 1.1.

    Each version's clients are read with both spellings: Postel costs nothing here, and a Register
    that is refused parks a Zephyr client for twenty minutes.
    """
    flag = "Q" in parameters
    if flag and parameters["Q"] not in ("", "true"):
        raise PeerError("query_invalid", "Q takes no value", "send a bare Q")
    parameters.pop("Q", None)
    binding = parameters.pop("b", "U") or "U"
    if not _BINDING.fullmatch(binding):
        raise _bad_binding(binding)
    return binding.replace("Q", "") or "U", flag or "Q" in binding


def _bad_binding(binding: str) -> PeerError:
    return PeerError("binding_invalid", f"not a binding: {clean(binding)}", "send b=U or b=UQ")


def _is_marked_root(link: Link) -> bool:
    # RFC 6690 3.1: a resource type attribute may hold several, divided by spaces.
    return "oma.lwm2m" in (link.attributes.get("rt") or "").split()


def _is_plain_root(link: Link) -> bool:
    return link.target == "/"


def _content_formats(text: str | None) -> tuple[int, ...]:
    if not text:
        return ()
    return tuple(
        int(part) for part in text.split()[:16] if part.isascii() and part.isdigit() and len(part) < 6
    )


def _ids_below(root_path: str, target: str) -> tuple[int, ...] | None:
    """The one or two numbers of an object or instance link below the root path, else None."""
    prefix = root_path.rstrip("/") + "/"
    if not target.startswith(prefix):
        return None
    parts = target[len(prefix) :].rstrip("/").split("/")
    if not 1 <= len(parts) <= 2:
        return None
    if not all(p.isascii() and p.isdigit() and len(p) <= 5 and int(p) <= MAX_ID for p in parts):
        return None
    return tuple(map(int, parts))
