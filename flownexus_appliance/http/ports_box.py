"""What the web side needs of the box itself, as types: who may use it, and how it is set.

Met by `access/` and `system/settings.py`, as `ports.py` says of the rest. Called in the event loop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..access.roles import Caller, Role


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from: an IP address, and what the program there calls itself."""

    address: str
    agent: str = ""


class User(Protocol):
    """A person; times in ms since 1970 UTC."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def made_ms(self) -> int: ...
    @property
    def changed_ms(self) -> int: ...  # the password


class Session(Protocol):
    """A browser that is signed in; `kept` over weeks. `ends_ms` is when it ends if nobody uses it."""

    @property
    def id(self) -> int: ...
    @property
    def user(self) -> str: ...
    @property
    def kept(self) -> bool: ...
    @property
    def made_ms(self) -> int: ...
    @property
    def used_ms(self) -> int: ...
    @property
    def ends_ms(self) -> int: ...
    @property
    def address(self) -> str: ...
    @property
    def agent(self) -> str: ...


class Token(Protocol):
    """An API token without its secret; `expires_ms` 0: no end, `used_ms` 0: never.

    `role` is the most it may do: it never may more than its user.
    """

    @property
    def id(self) -> int: ...
    @property
    def user(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def made_ms(self) -> int: ...
    @property
    def expires_ms(self) -> int: ...
    @property
    def used_ms(self) -> int: ...


class SignedIn(Protocol):
    """A session that has just begun, with the secret for the browser's cookie; `kept` as asked for."""

    @property
    def caller(self) -> Caller: ...
    @property
    def secret(self) -> str: ...
    @property
    def kept(self) -> bool: ...


class Access(Protocol):
    """Who may use the box. Changes are done when they are on disk; StoreError when they are not."""

    def unclaimed(self) -> bool:
        """Whether nobody can sign in yet: then only the setup page is open."""

    def setup_code(self) -> str | None:
        """The code that makes the first admin; None once there is one."""

    async def claim(self, code: str, name: str, password: str, client: Client, *, keep: bool) -> SignedIn:
        """Make the first admin and sign in.

        UsageError: setup_code_wrong, setup_done, sign_in_throttled (SignInThrottled), user_name_invalid,
        password_weak.
        """

    async def sign_in(self, name: str, password: str, client: Client, *, keep: bool) -> SignedIn:
        """Begin a session. UsageError: sign_in_refused, sign_in_throttled (SignInThrottled)."""

    def caller_of_session(self, secret: str, client: Client) -> Caller | None:
        """Who a cookie's secret stands for, None when it has ended; counts as use."""

    def caller_of_token(self, secret: str) -> Caller | None:
        """Who a token stands for, None for one that is unknown or expired; counts as use."""

    def holds(self, caller: Caller) -> bool:
        """Whether a caller is one still: for what lasts longer than a request; counts as use."""

    def users(self) -> Sequence[User]:
        """All, by name."""

    async def add_user(self, name: str, role: Role, password: str) -> User:
        """UsageError: user_name_invalid, user_taken, password_weak, user_limit."""

    async def change_user(self, name: str, *, role: Role | None = None, password: str | None = None) -> User:
        """Set what is given; a new password ends the user's sessions.

        UsageError: user_unknown, last_admin, password_weak.
        """

    async def change_password(self, caller: Caller, old: str, new: str, client: Client) -> None:
        """Change one's own password; one's other sessions end.

        UsageError: password_wrong, password_weak, sign_in_throttled (SignInThrottled), session_needed.
        """

    async def remove_user(self, name: str) -> None:
        """With sessions and tokens. UsageError: user_unknown, last_admin."""

    def sessions(self, user: str | None = None) -> Sequence[Session]:
        """Those of a user, or all, the last used first."""

    async def end_session(self, number: int) -> None:
        """UsageError("session_unknown")."""

    def tokens(self, user: str | None = None) -> Sequence[Token]:
        """Those of a user, or all, by user and name; expired ones too."""

    async def add_token(self, user: str, name: str, role: Role, expires_ms: int) -> tuple[Token, str]:
        """Make a token; its secret is told this once. `role` is lowered to the user's.

        UsageError: user_unknown, token_name_invalid, token_taken, token_limit, expiry_past.
        """

    async def remove_token(self, number: int) -> None:
        """UsageError("token_unknown")."""

    def note(self, who: str, address: str, action: str, target: str, outcome: str, detail: str = "") -> None:
        """Put a change on record; on disk with the next commit."""


class Settings(Protocol):
    """The configuration: what the file says, and over it what was set on the page."""

    def entries(self) -> Sequence["SettingEntry"]:
        """Every field, in the order of the sections."""

    async def change(self, changes: Mapping[str, str | None]) -> None:
        """Set fields by `section.name`, as TOML writes values; None: as the file says, or the default.

        Kept beside the database; in use after a restart. SettingsInvalid, ApplianceError:
        settings_unwritable.
        """

    def problems(self) -> Sequence[str]:
        """What of the page's settings is not in use, and why."""

    def restart_needed(self) -> bool:
        """Whether something was set that is not in use yet."""

    def restart(self) -> None:
        """Stop in order and start anew, a moment from now.

        UsageError: config_unreadable, config_invalid; then nothing happens.
        """


class SettingEntry(Protocol):
    """A field of the configuration; values as TOML writes them.

    `value` is what it is from the next start on, `in_use` what it is now, `base` what it is without the page.
    `origin`: default, file or page. `kind` is switch, number, choice, lines or text; `problem` why what the
    page had set is passed over, or "".
    """

    @property
    def key(self) -> str: ...  # section.name

    @property
    def section(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def in_use(self) -> str: ...
    @property
    def base(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def choices(self) -> tuple[str, ...]: ...
    @property
    def problem(self) -> str: ...
    @property
    def default(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def help(self) -> str: ...
    @property
    def origin(self) -> str: ...
