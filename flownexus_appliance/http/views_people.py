"""People, their browsers and their programs as the pages show them, and what roles may do in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from ..access.roles import Caller, Role, Way
from .language import N_
from .ports_box import Access, Session, Token, User

ROLE_NOTES: Final[Mapping[str, str]] = {
    "viewer": N_("Sees devices, values, operations and the state of the box. Changes nothing."),
    "operator": N_("Also acts on devices: reads, writes, executes; adds them and removes them."),
    "admin": N_("Also changes the box itself: certificates, bootstrap, models, settings and people."),
}
# What browsers call themselves, the more particular first: nearly all say "Safari" and "Chrome" besides.
_BROWSERS: Final = (
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)
MAX_PRODUCT: Final = 40


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session: its browser and system by name, "" where it is not told; `here`: it is the one that asks."""

    session: Session
    browser: str
    system: str
    here: bool


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token; `ended` once it is good no more."""

    token: Token
    ended: bool


@dataclass(frozen=True, slots=True)
class PersonView:
    """A person with what they use. `seen_ms` is when they or a program of theirs last came, 0 for never."""

    user: User
    url: str
    myself: bool
    sessions: tuple[SessionView, ...]
    tokens: tuple[TokenView, ...]
    seen_ms: int


def person_url(name: str) -> str:
    """The address of a person's page."""
    return f"/people/{quote(name, safe='')}"


def people(access: Access, caller: Caller, now_ms: int) -> list[PersonView]:
    """Everybody, by name."""
    return [person(access, user, caller, now_ms) for user in access.users()]


def person(access: Access, user: User, caller: Caller, now_ms: int) -> PersonView:
    """One of them, as `caller` sees them."""
    sessions = session_views(access.sessions(user.name), caller)
    tokens = token_views(access.tokens(user.name), now_ms)
    used = [view.session.used_ms for view in sessions] + [view.token.used_ms for view in tokens]
    myself = user.name == caller.user
    return PersonView(user, person_url(user.name), myself, sessions, tokens, max(used, default=0))


def session_views(sessions: Sequence[Session], caller: Caller) -> tuple[SessionView, ...]:
    """Sessions as the pages list them."""
    mine = caller.number if caller.way is Way.SESSION else 0
    return tuple(SessionView(one, *agent_names(one.agent), here=one.id == mine) for one in sessions)


def token_views(tokens: Sequence[Token], now_ms: int) -> tuple[TokenView, ...]:
    """Tokens as the pages list them."""
    return tuple(TokenView(one, 0 < one.expires_ms <= now_ms) for one in tokens)


def roles_up_to(role: Role) -> list[Role]:
    """The roles that somebody of `role` may give to a program."""
    return [one for one in Role if role.includes(one)]


def agent_names(agent: str) -> tuple[str, str]:
    """Browser and system out of a User-Agent (RFC 9110 10.1.5), such as Firefox and Linux.

    A program that is no browser is called by its first product; "" is what is not known.
    """
    system = next((name for sign, name in _SYSTEMS if sign in agent), "")
    browser = next((name for sign, name in _BROWSERS if sign in agent), "")
    if not browser:
        product = agent.partition(" ")[0].partition("/")[0]
        browser = product[:MAX_PRODUCT] if product != "Mozilla" else ""
    return browser, system
