"""Finding devices: the database knows their names and tags, the fleet their state, a question joins both.

A question looks at every device, few bytes each, and reads only a page of them in full.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final

import msgspec

from ..db.noted import ListedEndpoint, TagCount, same_tag
from ..db.reads import EndpointRow, RegistrationRow
from ..errors import UsageError, clean
from .ports import Parts
from .wording import STATES

MAX_SEARCH: Final = 255
# Orders: by the Endpoint Client Name; by label, or name where there is none; the last heard first; by state.
SORTS: Final = ("name", "label", "heard", "state")
_STATE_ORDER: Final = {state: place for place, state in enumerate(STATES)}
_DIGITS: Final = re.compile(r"\d+")
# As many digits as the longest number in a name that still sorts as a number (an IMEI has 15).
_NUMBER_WIDTH: Final = 20

Key = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """A device as it is now; times in ms since 1970 UTC, 0 where it was never seen.

    `awake_window_s`: for how long it listens in Queue Mode after it was heard; None: as configured.
    `label`, `notes` and `tags` are what people note about it.
    """

    endpoint: str
    label: str
    notes: str
    tags: tuple[str, ...]
    state: str
    first_seen_ms: int
    last_seen_ms: int
    awake_window_s: float | None
    registration: RegistrationRow | None

    @property
    def edition(self) -> str:
        """Short, and another one when anything was changed of what people note."""
        noted = msgspec.json.encode((self.label, self.notes, self.tags))
        return sha256(noted).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Question:
    """Which devices: name or label contains `search`, presence is `state`, one of the tags is `tag`; "" asks
    for all. Upper and lower case are one. `sort` is one of SORTS."""

    search: str = ""
    state: str = ""
    tag: str = ""
    sort: str = "name"

    @property
    def open(self) -> bool:
        return not (self.search or self.state or self.tag)


@dataclass(frozen=True, slots=True)
class TaggedDevices:
    """The devices of a page that stand under one tag ("" for those without any); `total` on all pages."""

    tag: str
    total: int
    devices: list[Device]


@dataclass(frozen=True, slots=True)
class GroupedPage:
    """A page of devices by tag. `entries` and `devices` count all pages: a device may have several tags."""

    groups: list[TaggedDevices]
    entries: int
    devices: int


async def device(parts: Parts, endpoint: str) -> Device:
    """One device; raises UsageError("endpoint_unknown")."""
    row = await parts.reader.endpoint(endpoint)
    if row is None:
        raise UsageError(
            "endpoint_unknown",
            f"no device is called {clean(endpoint)}",
            "check its name in the list of devices; in an address a name is percent-encoded",
        )
    return _device(parts, row)


async def page_after(
    parts: Parts, question: Question, after: str, limit: int
) -> tuple[list[Device], str | None]:
    """At most `limit` devices behind a cursor, and the one to ask on from; None at the end.

    Raises UsageError("query_invalid") for a cursor of another order.
    """
    found = await _ordered(parts, question)
    keys = [key for key, _ in found]
    first = bisect_right(keys, _place(after, question.sort)) if after else 0
    wanted = found[first : first + limit]
    more = first + limit < len(found)
    return await devices(parts, [name for _, name in wanted]), _cursor(wanted[-1][0]) if more else None


async def page_numbered(parts: Parts, question: Question, number: int, size: int) -> tuple[list[Device], int]:
    """The devices of a page (counted from 1), and how many answer to the question in all."""
    found = await _ordered(parts, question)
    wanted = found[(number - 1) * size : number * size]
    return await devices(parts, [name for _, name in wanted]), len(found)


async def page_grouped(parts: Parts, question: Question, number: int, size: int) -> GroupedPage:
    """A page of the devices by tag, each under all of its tags, those without any at the end."""
    found = await _ordered(parts, question)
    tagged = await parts.reader.tagged()
    groups: dict[str, list[str]] = {}
    for _, name in found:
        for tag in tagged.get(name, ("",)):
            groups.setdefault(tag, []).append(name)
    ordered = sorted(groups, key=lambda tag: (not tag, collated(tag)))
    entries = [(tag, name) for tag in ordered for name in groups[tag]]
    wanted = entries[(number - 1) * size : number * size]
    known = {one.endpoint: one for one in await devices(parts, list({name for _, name in wanted}))}
    page: dict[str, list[Device]] = {}
    for tag, name in wanted:
        if name in known:
            page.setdefault(tag, []).append(known[name])
    shown = [TaggedDevices(tag, len(groups[tag]), on_page) for tag, on_page in page.items()]
    return GroupedPage(shown, len(entries), len(found))


def spelled(tags: Sequence[TagCount], tag: str) -> str:
    """A tag as it is kept, or as it was asked for where no device has it."""
    return next((one.tag for one in tags if same_tag(one.tag) == same_tag(tag)), tag)


async def _ordered(parts: Parts, question: Question) -> list[tuple[Key, str]]:
    """The names that answer to a question in its order, each with what it is sorted by."""
    tag = spelled(await parts.reader.tags(), question.tag) if question.tag else ""
    listed = await parts.reader.listed(tag)
    if question.search:
        search = question.search.casefold()
        listed = [one for one in listed if search in f"{one.endpoint} {one.label}".casefold()]
    if question.state:
        listed = [one for one in listed if parts.fleet.presence(one.endpoint) == question.state]
    key = _key(parts, question.sort)
    return sorted((key(one), one.endpoint) for one in listed)


def _key(parts: Parts, sort: str) -> Callable[[ListedEndpoint], Key]:
    """What devices are sorted by; the name, at its end, leaves no two alike."""
    fleet = parts.fleet
    match sort:
        case "label":
            return lambda one: (collated(one.title), one.endpoint)
        case "heard":
            return lambda one: (-_heard_ms(parts, one.endpoint, one.last_seen_ms), one.endpoint)
        case "state":
            return lambda one: (
                _STATE_ORDER[fleet.presence(one.endpoint)],
                collated(one.title),
                one.endpoint,
            )
    return lambda one: (one.endpoint,)


@lru_cache(maxsize=16_384)
def collated(title: str) -> str:
    """A title or tag as people sort: upper and lower case are one, Sensor 2 stands before Sensor 10."""
    return _DIGITS.sub(lambda digits: digits[0].zfill(_NUMBER_WIDTH), title.casefold())


def _cursor(key: Key) -> str:
    return str(key[0]) if len(key) == 1 else msgspec.json.encode(key).decode()


def _place(cursor: str, sort: str) -> Key:
    """What a cursor stands for; raises UsageError("query_invalid")."""
    if sort == "name":
        return (cursor,)
    shapes = {"label": tuple[str, str], "heard": tuple[int, str], "state": tuple[int, str, str]}
    try:
        place: Key = msgspec.json.decode(cursor, type=shapes[sort])
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise UsageError(
            "query_invalid", f"after is not usable: {clean(cursor, 40)}", "give next of the page before"
        ) from None
    return place


def _heard_ms(parts: Parts, endpoint: str, last_seen_ms: int) -> int:
    return max(last_seen_ms, parts.fleet.heard_ms(endpoint) or 0)


async def devices(parts: Parts, names: Sequence[str]) -> list[Device]:
    """These devices in this order; one that has just gone is passed over."""
    rows = {row.endpoint: row for row in await parts.reader.endpoints(names)}
    return [_device(parts, rows[name]) for name in names if name in rows]


def _device(parts: Parts, row: EndpointRow) -> Device:
    return Device(
        endpoint=row.endpoint,
        label=row.label,
        notes=row.notes,
        tags=row.tags,
        state=parts.fleet.presence(row.endpoint),
        first_seen_ms=row.first_seen_ms,
        last_seen_ms=_heard_ms(parts, row.endpoint, row.last_seen_ms),
        awake_window_s=row.awake_window_s,
        registration=row.registration,
    )
