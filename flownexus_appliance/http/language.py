"""The language of a page: which one a browser asks for, and texts in it.

Texts stand in the code and the templates in English. `locale/<language>.po` has them in another one (GNU
gettext's format); a language is offered because its file is there, and read when its first reader comes.
`N_` marks a text of a table, which is translated where it is shown; `gettext` translates into the language of
the request. What programs read stays English. tools/texts.py keeps the files in step with the code.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Final

from aiohttp import web

from .cookies import cookie
from .routes import Handler

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog, Message

DEFAULT: Final = "en"
COOKIE: Final = "language"
KEPT_S: Final = 400 * 86_400  # the longest that browsers keep a cookie
LOCALE: Final = FilePath(__file__).parent / "locale"
# Where the texts of scripts are looked up; tools/texts.py writes the places of a text as paths from the root.
SCRIPTS: Final = "flownexus_appliance/http/static/js/"
# What programs ask; they get English whatever they say.
PROGRAMS: Final = ("/api/", "/leshan", "/static/", "/fw/")
# More languages nobody speaks.
MAX_RANGES: Final = 20
_RANGE: Final = re.compile(
    r"([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)(?:\s*;\s*q\s*=\s*([01](?:\.\d{0,3})?))?"
)


@dataclass(frozen=True, slots=True)
class Language:
    """One language: its tag (BCP 47), decimal sign, texts, and the texts of scripts as a module."""

    tag: str
    decimal: str = "."
    texts: NullTranslations = field(default_factory=NullTranslations, repr=False)
    script: bytes = field(default=b"", repr=False)


ENGLISH: Final = Language(DEFAULT)
_language: ContextVar[Language] = ContextVar("language", default=ENGLISH)


def N_(text: str) -> str:  # noqa: N802 - the name that gettext's tools know
    """The text itself, marked for the catalogue."""
    return text


def gettext(text: str) -> str:
    """A text in the language of the request."""
    # The empty text is where a catalogue keeps what it says of itself.
    return _language.get().texts.gettext(text) if text else ""


def ngettext(one: str, many: str, count: int) -> str:
    """One of two texts by a number, in the language of the request."""
    return _language.get().texts.ngettext(one, many, count)


def language() -> Language:
    """The language of the request."""
    return _language.get()


def use(chosen: Language) -> Token[Language]:
    """Write in this language from here on, in this task."""
    return _language.set(chosen)


@cache
def catalogues() -> Mapping[str, FilePath]:
    """The languages there are besides English, by tag."""
    return {path.stem.replace("_", "-"): path for path in sorted(LOCALE.glob("*.po"))}


def offered() -> tuple[str, ...]:
    """The tags of all languages one may choose."""
    return DEFAULT, *catalogues()


@cache
def load(tag: str) -> Language:
    """A language that is offered. It takes a moment the first time, so ask for it in another thread."""
    if tag == DEFAULT:
        return ENGLISH
    # Babel takes megabytes: only a box with readers of another language pays for them.
    from babel import Locale
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    with catalogues()[tag].open("rb") as file:
        catalogue = read_po(file, locale=tag.replace("-", "_"))
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    decimal = Locale.parse(tag, sep="-").number_symbols["latn"]["decimal"]
    return Language(tag, decimal, GNUTranslations(compiled), _script(catalogue, decimal))


def names() -> Mapping[str, str]:
    """What each language calls itself, by tag: for who chooses one. Loads them all."""
    itself = N_("English")  # every catalogue has the name of its own language here
    return {tag: load(tag).texts.gettext(itself) for tag in offered()}


def remember(response: web.StreamResponse, tag: str) -> None:
    """Have the browser ask for this language from now on, or by its own settings again where it is ""."""
    if not tag:
        response.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Lax")
        return
    response.set_cookie(COOKIE, tag, max_age=KEPT_S, path="/", secure=True, httponly=True, samesite="Lax")


def best(accepted: str) -> str:
    """The language offered that comes first in an Accept-Language header (RFC 9110 12.5.4), by the lookup of
    RFC 4647 3.4: a range that is not offered stands for the wider one, de-AT for de."""
    known = {tag.lower(): tag for tag in offered()}
    ranges = [_RANGE.fullmatch(part.strip()) for part in accepted.split(",")[:MAX_RANGES]]
    wanted = [(float(found[2] or 1), found[1].lower()) for found in ranges if found is not None]
    for quality, tag in sorted(wanted, key=lambda one: -one[0]):
        while tag and quality > 0:
            if tag in known:
                return known[tag]
            tag = tag.rpartition("-")[0]  # noqa: PLW2901 - the range is widened step by step
    return DEFAULT


@web.middleware
async def choose(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Set the language of the request: the one chosen here before (a cookie), else the browser's own."""
    tag = DEFAULT
    if not request.path.startswith(PROGRAMS):
        chosen = cookie(request, COOKIE) or ""
        tag = chosen if chosen in offered() else best(request.headers.get("Accept-Language", ""))
    # For English too: requests of a connection may share one context. Another thread reads the file.
    use(ENGLISH if tag == DEFAULT else await asyncio.to_thread(load, tag))
    response = await handler(request)
    if response.content_type == "text/html":
        response.headers["Content-Language"] = tag
        varies = [response.headers["Vary"]] if "Vary" in response.headers else []
        response.headers["Vary"] = ", ".join([*varies, "Accept-Language", "Cookie"])
    return response


def _script(catalogue: "Catalog", decimal: str) -> bytes:
    """The module that `static/js/language.js` imports for this language.

    The rule for plurals is JavaScript too: gettext has read it by now, and takes nothing but C's operators.
    """
    texts = {
        message.id if isinstance(message.id, str) else message.id[0]: message.string
        for message in catalogue
        if all(_forms(message)) and any(place.startswith(SCRIPTS) for place, _ in message.locations)
    }
    return (
        f"export const texts = {json.dumps(texts, ensure_ascii=False)};\n"
        f"export const plural = (n) => Number({catalogue.plural_expr});\n"
        f"export const decimal = {json.dumps(decimal)};\n"
    ).encode()


def _forms(message: "Message") -> tuple[str, ...]:
    if message.string is None or isinstance(message.string, str):
        return (message.string or "",)
    return tuple(message.string)
