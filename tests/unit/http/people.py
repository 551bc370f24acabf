"""Who may use the house of the web side's tests: a person of each role, with a session and a token.

The secrets are the names of the roles. The real `Access` has tests of its own; here it is what it is to the
web side.
"""

from dataclasses import dataclass, field, replace

from flownexus_appliance.access.roles import Caller, Role, Way
from flownexus_appliance.errors import UsageError
from flownexus_appliance.http.ports_box import Client

from .house import HOUR_MS, NOW_MS

ANNA, OTTO, VERA = "anna", "otto", "vera"
NAMES = {Role.ADMIN: ANNA, Role.OPERATOR: OTTO, Role.VIEWER: VERA}
BEARER = {role: {"Authorization": f"Bearer {role}"} for role in Role}
CODE = "K7QD-93FM-XW2P"
PASSWORD = "four wet horses"


def caller(role: Role, way: Way = Way.SESSION) -> Caller:
    """The person of a role, by a browser or by a program."""
    name = NAMES[role]
    number = list(Role).index(role) + 1
    if way is Way.TOKEN:
        return Caller(f"{name}/script", role, way, name, number)
    return Caller(name, role, way, name, number, form_key=f"key of {name}".encode())


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    role: Role
    made_ms: int = NOW_MS - 48 * HOUR_MS
    changed_ms: int = NOW_MS - 48 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Browser:
    """A session."""

    id: int
    user: str
    kept: bool = False
    made_ms: int = NOW_MS - 2 * HOUR_MS
    used_ms: int = NOW_MS - HOUR_MS
    ends_ms: int = NOW_MS + 11 * HOUR_MS
    address: str = "192.0.2.9"
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """A token."""

    id: int
    user: str
    name: str
    role: Role
    made_ms: int = NOW_MS - 48 * HOUR_MS
    expires_ms: int = 0
    used_ms: int = 0


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that has just begun."""

    caller: Caller
    secret: str
    kept: bool


@dataclass(slots=True)
class FakeAccess:
    """Three people who are let in, and what they are on record with: `notes`, and
    `details` beside each."""

    people: dict[str, Person] = field(
        default_factory=lambda: {name: Person(name, role) for role, name in NAMES.items()}
    )
    browsers: dict[str, Caller] = field(default_factory=lambda: {role: caller(role) for role in Role})
    programs: dict[str, Caller] = field(
        default_factory=lambda: {role: caller(role, Way.TOKEN) for role in Role}
    )
    notes: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    passwords: dict[str, str] = field(default_factory=dict)
    failure: UsageError | None = None

    def unclaimed(self) -> bool:
        return not self.people

    def setup_code(self) -> str | None:
        return CODE if self.unclaimed() else None

    async def claim(self, code: str, name: str, password: str, client: Client, *, keep: bool) -> Begun:
        self._check()
        if code != CODE:
            raise UsageError("setup_code_wrong", "the code is not right", "flownexus setup-code tells it")
        self.people[name] = Person(name, Role.ADMIN)
        return self._begin(name, keep=keep)

    async def sign_in(self, name: str, password: str, client: Client, *, keep: bool) -> Begun:
        self._check()
        if name not in self.people or password != self.passwords.get(name, PASSWORD):
            raise UsageError("sign_in_refused", "name or password is not right", "try again")
        return self._begin(name, keep=keep)

    def caller_of_session(self, secret: str, client: Client) -> Caller | None:
        return self.browsers.get(secret)

    def caller_of_token(self, secret: str) -> Caller | None:
        return self.programs.get(secret)

    def holds(self, caller: Caller) -> bool:
        return caller in self.browsers.values() or caller in self.programs.values()

    def users(self) -> list[Person]:
        return sorted(self.people.values(), key=lambda person: person.name)

    async def add_user(self, name: str, role: Role, password: str) -> Person:
        self._check()
        if name in self.people:
            raise UsageError("user_taken", f"there is a {name} already", "choose another name")
        self.people[name], self.passwords[name] = Person(name, role), password
        return self.people[name]

    async def change_user(
        self, name: str, *, role: Role | None = None, password: str | None = None
    ) -> Person:
        self._check()
        person = self._person(name)
        self.people[name] = replace(person, role=role or person.role)
        if password is not None:
            self.passwords[name] = password
        return self.people[name]

    async def change_password(self, caller: Caller, old: str, new: str, client: Client) -> None:
        self._check()
        if old != self.passwords.get(caller.user, PASSWORD):
            raise UsageError("password_wrong", "the present password is not right", "try again")
        self.passwords[caller.user] = new

    async def remove_user(self, name: str) -> None:
        self._check()
        self._person(name)
        del self.people[name]
        self.browsers = {s: c for s, c in self.browsers.items() if c.user != name}
        self.programs = {s: c for s, c in self.programs.items() if c.user != name}

    def sessions(self, user: str | None = None) -> list[Browser]:
        return [Browser(c.number, c.user) for c in self.browsers.values() if user in (None, c.user)]

    async def end_session(self, number: int) -> None:
        found = [secret for secret, c in self.browsers.items() if c.number == number]
        if not found:
            raise UsageError("session_unknown", f"there is no session {number}", "it may have ended")
        for secret in found:
            del self.browsers[secret]

    def tokens(self, user: str | None = None) -> list[Program]:
        return [
            Program(c.number, c.user, c.name.partition("/")[2], c.role)
            for c in self.programs.values()
            if user in (None, c.user)
        ]

    async def add_token(self, user: str, name: str, role: Role, expires_ms: int) -> tuple[Program, str]:
        self._check()
        lowered = role.at_most(self._person(user).role)
        made = Program(max((c.number for c in self.programs.values()), default=0) + 1, user, name, lowered)
        secret = f"fnx_{made.id}"
        self.programs[secret] = Caller(f"{user}/{name}", lowered, Way.TOKEN, user, made.id)
        return replace(made, expires_ms=expires_ms), secret

    async def remove_token(self, number: int) -> None:
        found = [secret for secret, c in self.programs.items() if c.number == number]
        if not found:
            raise UsageError("token_unknown", f"there is no token {number}", "it may be gone already")
        for secret in found:
            del self.programs[secret]

    def note(self, who: str, address: str, action: str, target: str, outcome: str, detail: str = "") -> None:
        self.notes.append((who, address, action, target, outcome))
        self.details.append(detail)

    def _begin(self, name: str, *, keep: bool) -> Begun:
        role = self.people[name].role
        began = Caller(name, role, Way.SESSION, name, 100 + len(self.browsers), f"key of {name}".encode())
        secret = f"secret-{began.number}"
        self.browsers[secret] = began
        return Begun(began, secret, keep)

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _person(self, name: str) -> Person:
        if name not in self.people:
            raise UsageError("user_unknown", f"there is no {name}", "the list has who there is")
        return self.people[name]
