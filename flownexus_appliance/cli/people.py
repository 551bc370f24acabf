"""`flownexus user`, `token`, `setup-code` and `audit`: who may use the box, and what they changed.

A password is asked for on the terminal, or read from standard input: an argument is seen by everybody on the
machine, and kept in the shell's history.
"""

import argparse
import getpass
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..errors import UsageError, clean
from .console import below
from .export import point
from .output import DONE, add_common, console, moment, say_fields, say_json, say_table, user_name

# As `access.roles.Role` has them; the command needs nothing else of the daemon.
ROLES: Final = ("viewer", "operator", "admin")
DEFAULT_DAYS: Final = 365
DEFAULT_LIMIT: Final = 50
MAX_LINE: Final = 4096

Run = Callable[[argparse.Namespace], int]


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    _add_users(commands)
    _add_tokens(commands)
    code = commands.add_parser("setup-code", help="the code that makes the first admin")
    add_common(code)
    code.set_defaults(run=_setup_code)
    audit = commands.add_parser("audit", help="who changed what, or tried to")
    audit.add_argument(
        "--who", type=user_name, default="", metavar="NAME", help="a user, console or leshan (all)"
    )
    audit.add_argument("--search", default="", metavar="TEXT", help="in addresses, targets and outcomes")
    audit.add_argument("--from", dest="begin", type=point, metavar="TIME", help="2026-03-01, or 7d: days ago")
    audit.add_argument("--to", dest="end", type=point, metavar="TIME", help="2026-03-01T18:00, or 12h ago")
    audit.add_argument(
        "--limit",
        type=_count,
        default=DEFAULT_LIMIT,
        metavar="N",
        help=f"the newest N ({DEFAULT_LIMIT}; 0: all)",
    )
    add_common(audit)
    audit.set_defaults(run=_audit)


def _add_users(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("user", help="who can sign in")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all users")
    add = actions.add_parser("add", help="add a user; asks for a password")
    add.add_argument("name", metavar="NAME", help="a-z, 0-9, dot, hyphen and underscore")
    add.add_argument("--role", choices=ROLES, required=True, help="what they may do")
    role = actions.add_parser("role", help="give a user another role")
    role.add_argument("name", type=user_name, metavar="NAME", help="the user")
    role.add_argument("role", choices=ROLES, metavar="ROLE", help=", ".join(ROLES))
    password = actions.add_parser("password", help="give a user a new password; all their sessions end")
    password.add_argument("name", type=user_name, metavar="NAME", help="the user")
    remove = actions.add_parser("remove", help="remove a user, with sessions and tokens")
    remove.add_argument("name", type=user_name, metavar="NAME", help="the user")
    for action in (add, password):
        action.add_argument("--stdin", action="store_true", help="read the password from standard input")
    _finish(
        (listing, _list_users),
        (add, _add_user),
        (role, _set_role),
        (password, _set_password),
        (remove, _remove_user),
    )


def _add_tokens(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("token", help="API tokens for programs")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all tokens")
    listing.add_argument("--user", type=user_name, default="", metavar="NAME", help="only of this user")
    add = actions.add_parser("add", help="make a token; its secret is told once")
    add.add_argument("name", metavar="NAME", help="what it is for")
    add.add_argument("--user", type=user_name, required=True, metavar="NAME", help="in whose name it acts")
    add.add_argument("--role", choices=ROLES, default=ROLES[0], help=f"the most it may do ({ROLES[0]})")
    add.add_argument(
        "--days", type=_count, default=DEFAULT_DAYS, metavar="N", help=f"its life ({DEFAULT_DAYS}; 0: no end)"
    )
    remove = actions.add_parser("remove", help="remove a token")
    remove.add_argument("id", type=_count, metavar="ID", help="its number, as list shows it")
    _finish((listing, _list_tokens), (add, _add_token), (remove, _remove_token))


def _finish(*actions: tuple[argparse.ArgumentParser, Run]) -> None:
    for action, run in actions:
        add_common(action)
        action.set_defaults(run=run)


def _list_users(options: argparse.Namespace) -> int:
    items = console(options).get("/users")["items"]
    if options.json:
        return say_json(items)
    rows = [
        (one["name"], one["role"], moment(one["changed_ms"]), str(one["sessions"]), str(one["tokens"]))
        for one in items
    ]
    say_table(("NAME", "ROLE", "PASSWORD OF", "SESSIONS", "TOKENS"), rows)
    return DONE


def _add_user(options: argparse.Namespace) -> int:
    box = console(options)
    box.get("/account")  # nobody types a password for a daemon that is not there
    made = box.post("/users", {"name": options.name, "role": options.role, "password": _password(options)})
    return _said(options, made, f"{made['name']} can sign in, as {made['role']}.")


def _set_role(options: argparse.Namespace) -> int:
    changed = console(options).patch(below("users", options.name), {"role": options.role})
    return _said(options, changed, f"{changed['name']} is {changed['role']} from now on.")


def _set_password(options: argparse.Namespace) -> int:
    box, user = console(options), below("users", options.name)
    box.get(user)  # nor for a user who is not
    changed = box.patch(user, {"password": _password(options)})
    return _said(options, changed, f"{changed['name']} has a new password; all their sessions have ended.")


def _remove_user(options: argparse.Namespace) -> int:
    answer = console(options).delete(below("users", options.name))
    return _said(options, answer, f"{clean(options.name)} is no user any more.")


def _list_tokens(options: argparse.Namespace) -> int:
    items = console(options).get("/tokens", user=options.user)["items"]
    if options.json:
        return say_json(items)
    rows = [
        (
            str(one["id"]),
            one["user"],
            one["name"],
            one["role"],
            moment(one["expires_ms"], "no end"),
            moment(one["used_ms"]),
        )
        for one in items
    ]
    say_table(("ID", "USER", "NAME", "ROLE", "GOOD UNTIL", "LAST USED"), rows)
    return DONE


def _add_token(options: argparse.Namespace) -> int:
    body = {
        "name": options.name,
        "user": options.user,
        "role": options.role,
        "expires_days": options.days or None,
    }
    given = console(options).post("/tokens", body)
    if options.json:
        return say_json(given)
    token = given["token"]
    say_fields(
        [
            ("Token", given["secret"]),
            ("Number", str(token["id"])),
            ("User", token["user"]),
            ("Role", token["role"]),
            ("Good until", moment(token["expires_ms"], "no end")),
        ]
    )
    print("It is told this once. Programs send it as: Authorization: Bearer TOKEN", file=sys.stderr)
    return DONE


def _remove_token(options: argparse.Namespace) -> int:
    answer = console(options).delete(f"/tokens/{options.id}")
    return _said(options, answer, f"Token {options.id} is good no more.")


def _setup_code(options: argparse.Namespace) -> int:
    found = console(options).get("/setup-code")
    return _said(options, found, found["code"])


def _audit(options: argparse.Namespace) -> int:
    items = console(options).items(
        "/audit",
        most=options.limit or None,
        who=options.who,
        q=options.search,
        from_ms="" if options.begin is None else str(options.begin),
        to_ms="" if options.end is None else str(options.end),
    )
    if options.json:
        return say_json(items)
    say_table(("WHEN", "WHO", "FROM", "WHAT", "OF", "OUTCOME"), _lines(items))
    return DONE


def _lines(items: Sequence[Any]) -> list[tuple[str, ...]]:
    return [
        (
            moment(one["time_ms"], seconds=True),
            one["who"] or "-",
            one["address"] or "-",
            one["action"],
            " ".join(filter(None, (one["target"], one["detail"]))) or "-",
            one["outcome"] or "done",
        )
        for one in items
    ]


def _said(options: argparse.Namespace, answer: object, words: str) -> int:
    if options.json:
        return say_json(answer)
    print(words)
    return DONE


def _password(options: argparse.Namespace) -> str:
    """The new password. UsageError: password_missing, passwords_differ, terminal_missing."""
    if options.stdin:
        password = sys.stdin.readline(MAX_LINE).rstrip("\r\n")
    elif not sys.stdin.isatty():
        raise UsageError(
            "terminal_missing", "there is no terminal to ask for a password on", "give it with --stdin"
        )
    else:
        # On standard error, and without an echo: what is said on standard output may go elsewhere.
        password = _ask("New password: ")
        if password and _ask("Once more: ") != password:
            raise UsageError("passwords_differ", "the two are not the same", "try again")
    if not password:
        raise UsageError("password_missing", "no password was given", "nothing was changed")
    return password


def _ask(prompt: str) -> str:
    try:
        return getpass.getpass(prompt, stream=sys.stderr)
    except EOFError:
        return ""


def _count(text: str) -> int:
    """The `type` of an argument that is a whole number, 0 or more."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise argparse.ArgumentTypeError(f"not a whole number: {clean(text, 40)}")
    return int(text)
