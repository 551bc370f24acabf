"""Who may use the box: the one place that lets people and programs in, and that changes who may come.

Everything is in memory, loaded at the start, as there are few people. A change is seen once it is on disk
(`changes.py`). Passwords, cookies and tokens appear in no log, error or `repr`; the setup code is told to the
journal once, which only the box's own people read.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from ..db.migrate import StoreError
from ..db.people import (
    People,
    SessionRow,
    TokenRow,
    UserRow,
    put_setup_code,
    put_token,
    put_user,
    put_user_session,
    remove_token,
    remove_user,
    remove_user_sessions,
)
from ..db.store import Store
from ..db.writer import Batch
from ..errors import UsageError
from ..lwm2m.core import Moment
from ..system.clock import trustworthy
from . import names, setup
from .changes import Changes, Show
from .passwords import Passwords, check_password
from .people import Client, Session, SignedIn, Token, User
from .records import Records
from .roles import Caller, Role, Way
from .sessions import NewSession, Sessions, ends_ms, form_key
from .throttle import Throttle, network
from .tokens import MAX_A_USER, Tokens
from .users import Users
from .uses import Uses

log = logging.getLogger(__name__)


class Access:
    """Implements `http.ports.Access`, which says what each method raises. One instance, in the event loop."""

    def __init__(self, store: Store, clock: Callable[[], Moment], passwords: Passwords | None = None) -> None:
        self._store = store
        self._clock = clock
        self._passwords = passwords or Passwords()
        self._changes = Changes(store)
        self._records = Records(store, clock)
        self._throttle = Throttle(lambda: clock().now)
        self._users = Users()
        self._sessions = Sessions(clock)
        self._tokens = Tokens(clock)
        self._setup_code: str | None = None
        self._uses = Uses(store, clock, self._sessions, self._tokens)

    async def start(self, people: People) -> None:
        """Take up what an earlier run kept; have a setup code where nobody can sign in. StoreError."""
        self._users.start(people.users)
        self._sessions.start(people.sessions)
        self._tokens.start(people.tokens)
        if self._users:
            return
        code = self._setup_code = people.setup_code or setup.make_code()

        def prepare(batch: Batch) -> tuple[None, Show]:
            put_setup_code(batch, code)
            return None, lambda: None

        if not people.setup_code:
            await self._changes.make(prepare)
        log.info("setup code waits for the first admin", extra={"SETUP_CODE": code})

    async def stop(self) -> None:
        """Write down when sessions and tokens were last used."""
        with suppress(StoreError):  # of no use to a stop: a few minutes of use are lost
            self._uses.write()

    # The first admin

    def unclaimed(self) -> bool:
        """Whether nobody can sign in yet."""
        return not len(self._users)

    def setup_code(self) -> str | None:
        """The code that makes the first admin; None once there is one."""
        return self._setup_code

    async def claim(self, code: str, name: str, password: str, client: Client, *, keep: bool) -> SignedIn:
        """See `http.ports.Access`. Only addresses are slowed down: 60 bits are guessed by nobody, and nobody
        is to keep the owner from setting up the box."""
        expected = self._expected_code()
        self._throttle.begin(client.address, None)
        if not setup.same_code(code, expected):
            raise UsageError(
                "setup_code_wrong",
                "that is not the setup code of this box",
                "flownexus setup-code tells it on the box, and so does its log",
            )
        self._throttle.forgive(client.address, None)
        user = await self._new_user(name, Role.ADMIN, password)

        def prepare(batch: Batch) -> tuple[NewSession, Show]:
            self._expected_code()
            row = self._users.numbered(user)
            new = self._sessions.prepare(row.id, client, keep=keep)
            put_user(batch, row)
            put_setup_code(batch, "")
            put_user_session(batch, new.row)

            def show() -> None:
                self._show_first(row)
                self._sessions.add(new.row)

            return new, show

        return self._signed_in(await self._changes.make(prepare))

    # Coming in

    async def sign_in(self, name: str, password: str, client: Client, *, keep: bool) -> SignedIn:
        """See `http.ports.Access`. Of where a user is signed in already the account is not slowed down, so
        that nobody elsewhere keeps them out."""
        user = self._users.named(name)
        account = None if user is not None and self._is_known(user, client) else names.folded(name)
        self._passwords.check_room()
        self._throttle.begin(client.address, account)
        if not await self._passwords.matches(password, None if user is None else user.password_hash):
            raise _refused()
        assert user is not None
        self._throttle.forgive(client.address, user.name)
        renewed = user
        if self._passwords.outdated(user.password_hash):
            renewed = replace(user, password_hash=await self._passwords.make(password))

        def prepare(batch: Batch) -> tuple[NewSession, Show]:
            # It takes a while to check a password, and what was right may have been changed.
            now = self._users.get(user.id)
            if now is None or now.changed_ms != user.changed_ms:
                raise _refused()
            row = now if now != user else renewed
            new = self._sessions.prepare(row.id, client, keep=keep)
            if row != now:
                put_user(batch, row)
            remove_user_sessions(batch, new.ending)
            put_user_session(batch, new.row)

            def show() -> None:
                self._users.put(row)
                self._sessions.drop(new.ending)
                self._sessions.add(new.row)

            return new, show

        return self._signed_in(await self._changes.make(prepare))

    def caller_of_session(self, secret: str, client: Client) -> Caller | None:
        """Who a cookie's secret stands for, None when it has ended; counts as use."""
        session = self._sessions.find(secret, client)
        if session is None:
            return None
        self._uses.write_in_time()
        return self._caller_of(session, form_key(secret))

    def caller_of_token(self, secret: str) -> Caller | None:
        """Who a token stands for, None for one that is unknown or expired; counts as use."""
        token = self._tokens.find(secret)
        if token is None:
            return None
        self._uses.write_in_time()
        user = self._users.of(token.user_id)
        role = Role(token.role).at_most(Role(user.role))
        return Caller(f"{user.name}/{token.name}", role, Way.TOKEN, user.name, token.id)

    def holds(self, caller: Caller) -> bool:
        """Whether a caller is one still, with at least the role of then; counts as use."""
        if caller.way is Way.SESSION:
            session = self._sessions.touch(caller.number)
            role = None if session is None else Role(self._users.of(session.user_id).role)
        elif caller.way is Way.TOKEN:
            token = self._tokens.touch(caller.number)
            role = None
            if token is not None:
                role = Role(token.role).at_most(Role(self._users.of(token.user_id).role))
        else:
            return True
        self._uses.write_in_time()
        return role is not None and role.includes(caller.role)

    # People

    def users(self) -> Sequence[User]:
        """All, by name."""
        return [_user(row) for row in self._users.all()]

    async def add_user(self, name: str, role: Role, password: str) -> User:
        """See `http.ports.Access`; last_admin too, for a first user who would be no admin."""
        self._users.check_free(names.user_name(name))
        user = await self._new_user(name, role, password)

        def prepare(batch: Batch) -> tuple[UserRow, Show]:
            self._users.check_free(user.name)
            self._users.check_first(role)
            row = self._users.numbered(user)
            put_user(batch, row)
            put_setup_code(batch, "")
            return row, lambda: self._show_first(row)

        return _user(await self._changes.make(prepare))

    async def change_user(self, name: str, *, role: Role | None = None, password: str | None = None) -> User:
        """Set what is given; a new password ends the user's sessions. See `http.ports.Access`."""
        user = self._users.known(name)
        hashed = None
        if password is not None:
            check_password(password, user.name)
            hashed = await self._passwords.make(password)

        def prepare(batch: Batch) -> tuple[UserRow, Show]:
            row = self._users.known(user.name)
            if role is not None:
                if role is not Role.ADMIN:
                    self._users.check_without(row)
                row = replace(row, role=role.value)
            ending: list[int] = []
            if hashed is not None:
                row = self._with_password(row, hashed)
                ending = [session.id for session in self._sessions.of({row.id})]
            put_user(batch, row)
            remove_user_sessions(batch, ending)
            return row, lambda: self._show_changed(row, ending)

        changed = await self._changes.make(prepare)
        if hashed is not None:
            self._throttle.forgive_account(user.name)
        return _user(changed)

    async def change_password(self, caller: Caller, old: str, new: str, client: Client) -> None:
        """Change one's own password; one's other sessions end. See `http.ports.Access`."""
        user = self._of_session(caller)
        self._passwords.check_room()
        # By session, not by account: who guesses elsewhere keeps nobody from changing their password.
        guesser = f"{user.name} {caller.number}"
        self._throttle.begin(client.address, guesser)
        if not await self._passwords.matches(old, user.password_hash):
            raise _wrong()
        self._throttle.forgive(client.address, guesser)
        check_password(new, user.name)
        hashed = await self._passwords.make(new)

        def prepare(batch: Batch) -> tuple[UserRow, Show]:
            row = self._of_session(caller)
            if row.changed_ms != user.changed_ms:
                raise _wrong()
            row = self._with_password(row, hashed)
            ending = [one.id for one in self._sessions.of({row.id}) if one.id != caller.number]
            put_user(batch, row)
            remove_user_sessions(batch, ending)
            return row, lambda: self._show_changed(row, ending)

        await self._changes.make(prepare)

    async def remove_user(self, name: str) -> None:
        """With sessions and tokens. See `http.ports.Access`."""

        def prepare(batch: Batch) -> tuple[None, Show]:
            row = self._users.known(name)
            self._users.check_without(row)
            remove_user(batch, row.id)

            def show() -> None:
                self._sessions.drop_user(row.id)
                self._tokens.drop_user(row.id)
                self._users.drop(row.id)

            return None, show

        await self._changes.make(prepare)

    # Their sessions and tokens

    def sessions(self, user: str | None = None) -> Sequence[Session]:
        """Those of a user, or all, the last used first."""
        return [self._session(row) for row in self._sessions.of(self._ids(user))]

    async def end_session(self, number: int) -> None:
        """See `http.ports.Access`."""

        def prepare(batch: Batch) -> tuple[None, Show]:
            if self._sessions.get(number) is None:
                raise UsageError(
                    "session_unknown", f"there is no session {number}", "it may have ended; see the list"
                )
            remove_user_sessions(batch, (number,))
            return None, lambda: self._sessions.drop((number,))

        await self._changes.make(prepare)

    def tokens(self, user: str | None = None) -> Sequence[Token]:
        """Those of a user, or all, by user and name; expired ones too."""
        found = [self._token(row) for row in self._tokens.of(self._ids(user))]
        return sorted(found, key=lambda token: token.user)

    async def add_token(self, user: str, name: str, role: Role, expires_ms: int) -> tuple[Token, str]:
        """Make a token; its secret is told this once. See `http.ports.Access`."""
        called = names.token_name(name)

        def prepare(batch: Batch) -> tuple[tuple[TokenRow, str], Show]:
            owner = self._users.known(user)
            self._check_token(owner, called, expires_ms)
            row, secret = self._tokens.prepare(owner.id, called, role.at_most(Role(owner.role)), expires_ms)
            put_token(batch, row)
            return (row, secret), lambda: self._tokens.add(row)

        row, secret = await self._changes.make(prepare)
        return self._token(row), secret

    async def remove_token(self, number: int) -> None:
        """See `http.ports.Access`."""

        def prepare(batch: Batch) -> tuple[None, Show]:
            if self._tokens.get(number) is None:
                raise UsageError("token_unknown", f"there is no token {number}", "see the list of tokens")
            remove_token(batch, number)
            return None, lambda: self._tokens.drop((number,))

        await self._changes.make(prepare)

    # The record

    def note(self, who: str, address: str, action: str, target: str, outcome: str, detail: str = "") -> None:
        """Put a change on record; on disk with the next commit."""
        self._records.note(who, address, action, target, outcome, detail)

    # Within

    def _expected_code(self) -> str:
        """Raises UsageError("setup_done")."""
        if self._setup_code is None:
            raise UsageError("setup_done", "this box has been set up already", "sign in")
        return self._setup_code

    async def _new_user(self, name: str, role: Role, password: str) -> UserRow:
        """A user without a number yet. UsageError: user_name_invalid, password_weak."""
        called = names.user_name(name)
        check_password(password, called)
        hashed = await self._passwords.make(password)
        now_ms = self._clock().wall_ms
        return UserRow(0, called, role.value, hashed, now_ms, now_ms)

    def _with_password(self, row: UserRow, hashed: str) -> UserRow:
        """A user with a new password, at a moment that no earlier one of theirs has."""
        changed_ms = max(self._clock().wall_ms, row.changed_ms + 1)
        return replace(row, password_hash=hashed, changed_ms=changed_ms)

    def _show_first(self, row: UserRow) -> None:
        """A new user: the setup code is good no more, whoever it was for."""
        self._setup_code = None
        self._users.put(row)

    def _show_changed(self, row: UserRow, ending: Sequence[int]) -> None:
        self._sessions.drop(ending)
        self._users.put(row)

    def _is_known(self, user: UserRow, client: Client) -> bool:
        """Whether the user is signed in at an address already."""
        here = network(client.address)
        return here != "" and any(network(one.address) == here for one in self._sessions.of({user.id}))

    def _of_session(self, caller: Caller) -> UserRow:
        """The user whom a session of theirs speaks for; raises UsageError("session_needed")."""
        session = self._sessions.get(caller.number) if caller.way is Way.SESSION else None
        if session is None:
            raise UsageError(
                "session_needed",
                "this is for somebody who is signed in with a browser",
                "sign in, or set a password by flownexus user password",
            )
        return self._users.of(session.user_id)

    def _check_token(self, owner: UserRow, called: str, expires_ms: int) -> None:
        """Raises UsageError: token_taken, token_limit, clock_untrusted, expiry_past."""
        own = self._tokens.of({owner.id})
        if any(one.name == called for one in own):
            raise UsageError(
                "token_taken",
                f"{owner.name} has a token {called} already",
                "remove it, or choose another name",
            )
        if len(own) >= MAX_A_USER:
            raise UsageError(
                "token_limit", f"{owner.name} has {MAX_A_USER} tokens already", "remove those that expired"
            )
        now_ms = self._clock().wall_ms
        if expires_ms and not trustworthy(now_ms):
            raise UsageError(
                "clock_untrusted",
                "the box does not know the time yet, so the token would end at a wrong one",
                "make a token without an end, or wait until a time server has set the clock",
            )
        if expires_ms and expires_ms <= now_ms:
            raise UsageError("expiry_past", "the token would have expired already", "give a later time")

    def _ids(self, user: str | None) -> set[int] | None:
        """The number of a user, none of an unknown one; None for everybody."""
        if user is None:
            return None
        row = self._users.named(user)
        return set() if row is None else {row.id}

    def _signed_in(self, new: NewSession) -> SignedIn:
        return SignedIn(self._caller_of(new.row, form_key(new.secret)), new.secret, new.row.kept)

    def _caller_of(self, session: SessionRow, key: bytes) -> Caller:
        user = self._users.of(session.user_id)
        return Caller(user.name, Role(user.role), Way.SESSION, user.name, session.id, key)

    def _session(self, row: SessionRow) -> Session:
        return Session(
            row.id,
            self._users.of(row.user_id).name,
            row.kept,
            row.made_ms,
            row.used_ms,
            ends_ms(row),
            row.address,
            row.agent,
        )

    def _token(self, row: TokenRow) -> Token:
        return Token(
            row.id,
            self._users.of(row.user_id).name,
            row.name,
            Role(row.role),
            row.made_ms,
            row.expires_ms,
            row.used_ms,
        )


def _user(row: UserRow) -> User:
    return User(row.name, Role(row.role), row.made_ms, row.changed_ms)


def _refused() -> UsageError:
    return UsageError(
        "sign_in_refused",
        "the name or the password is not right",
        "mind capital letters; an admin can set a new password, and flownexus user password on the box",
    )


def _wrong() -> UsageError:
    return UsageError(
        "password_wrong", "that is not your password", "mind capital letters; nothing was changed"
    )
