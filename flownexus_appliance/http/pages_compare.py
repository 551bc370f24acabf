"""The page that lays series of several devices over each other. Its address holds the whole choice.

Without JavaScript it is a form: a resource first, then its devices. With it, each tick asks for the same page
anew, takes over what has changed, and draws the chart.
"""

from typing import Final

from aiohttp import web

from ..errors import UsageError, clean
from ..lwm2m.paths import Path
from . import devices, requests, views_compare
from .pages_frame import render
from .ports import PARTS, Parts
from .routes import Place, page
from .views import RANGES
from .views_compare import ADDRESS, MAX_SERIES, Address, KindOption, Offer, SeriesKey, kind_text

DEFAULT_RANGE: Final = "24h"
# What a list for the eye has room for; who wants another one searches for it.
MAX_OFFERS: Final = 50
# What a form can send that ticks everything on its page beside what was chosen before.
MAX_ASKED: Final = MAX_OFFERS + MAX_SERIES
_TOP: Final = 65_535


def routes() -> list[Place]:
    return [page(ADDRESS, compare)]


async def compare(request: web.Request) -> web.Response:
    """?series=PATH:ENDPOINT, several times; ?kind=OBJECT/RESOURCE and ?q= for what is offered; ?range="""
    parts = request.app[PARTS]
    position = parts.hub.last_number
    asked = _asked(request)
    kinds = views_compare.kind_options(await parts.reader.kinds(), parts.models)
    address = Address(
        chosen=tuple(asked[:MAX_SERIES]),
        range=requests.one_of(request, "range", tuple(RANGES)) or DEFAULT_RANGE,
        kind=_kind(request) or _first_kind(asked, kinds),
        search=requests.search(request),
    )
    names = list(dict.fromkeys(key.endpoint for key in address.chosen))
    known = {one.endpoint: one for one in await devices.devices(parts, names)}
    latest = await parts.reader.latest_of(names) if names else {}
    compared = views_compare.compared(address, known, latest, parts.models)
    offers = await _offers(parts, address)
    listed = {offer.key for offer in offers}
    return render(
        request,
        "compare.html",
        place="compare",
        stream_after=position,
        address=address,
        compared=compared,
        left_out=len(asked) - len(address.chosen),
        undrawn=[one for one in compared if one.reading is not None and not one.axis],
        kinds=kinds,
        kind=kind_text(*address.kind) if address.kind is not None else "",
        offers=offers[:MAX_OFFERS],
        more=len(offers) > MAX_OFFERS,
        hidden=[key for key in address.chosen if key not in listed],
        since_ms=min((one.first_seen_ms for one in known.values() if one.first_seen_ms), default=0),
        max_series=MAX_SERIES,
        max_offers=MAX_OFFERS,
    )


def _asked(request: web.Request) -> list[SeriesKey]:
    """The series of the address, each once."""
    texts = request.query.getall("series", [])
    if len(texts) > MAX_ASKED:
        raise UsageError(
            "query_invalid", f"{len(texts)} series asked for", f"compare at most {MAX_SERIES} at a time"
        )
    return list(dict.fromkeys(map(_key, texts)))


def _key(text: str) -> SeriesKey:
    path, colon, endpoint = text.partition(":")
    if not colon or not endpoint:
        raise UsageError(
            "query_invalid", f"not a series: {clean(text)}", "write the path, a colon and the endpoint name"
        )
    found = Path.parse(path, UsageError)
    if len(found) not in (3, 4):
        raise UsageError(
            "query_invalid", f"not the path of a resource: {found}", "write /3303/0/5700:endpoint-name"
        )
    return SeriesKey(str(found), endpoint)


def _kind(request: web.Request) -> tuple[int, int] | None:
    """`?kind=3303/5700`"""
    text = request.query.get("kind", "")
    if not text:
        return None
    numbers = text.split("/")
    if len(numbers) == 2 and all(one.isascii() and one.isdigit() and len(one) <= 5 for one in numbers):
        object_id, resource_id = map(int, numbers)
        if max(object_id, resource_id) <= _TOP:
            return object_id, resource_id
    raise UsageError(
        "query_invalid", f"not a resource: {clean(text, 40)}", "write object and resource: 3303/5700"
    )


def _first_kind(asked: list[SeriesKey], kinds: tuple[KindOption, ...]) -> tuple[int, int] | None:
    """What is offered when the address does not say: more of what was chosen, or what most devices have."""
    if asked:
        return asked[-1].kind
    if not kinds:
        return None
    common = max(kinds, key=lambda kind: (kind.sensed, kind.series))
    object_id, resource_id = common.value.split("/")
    return int(object_id), int(resource_id)


async def _offers(parts: Parts, address: Address) -> tuple[Offer, ...]:
    """What may be ticked, one more than is shown where there is more."""
    if address.kind is None:
        return ()
    found = await parts.reader.series_of(*address.kind, address.search, MAX_OFFERS + 1)
    return views_compare.offers(found, address.chosen)
