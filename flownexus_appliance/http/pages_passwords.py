"""Passwords in forms: taken as they were typed, compared where they were typed twice, made where none was
given; and what the box has made for somebody, to be shown once.
"""

import secrets
from dataclasses import dataclass, field
from typing import Final

from ..errors import UsageError
from .pages_forms import Form
from .ports_box import Token

# Nothing that looks like something else, on paper or over the telephone.
ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
GROUPS: Final = 4
GROUP: Final = 4  # in all 79 bits


@dataclass(frozen=True, slots=True)
class PasswordGiven:
    """A password that the box has made for somebody; `new` where the person is new too."""

    user: str
    new: bool
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenGiven:
    """A token that was just made, with its secret."""

    token: Token
    secret: str = field(repr=False)


def given(form: Form, name: str = "password") -> str:
    """A password of a form. White space around it is part of it."""
    return form.fields.get(name, "")


def check_repeated(form: Form) -> None:
    """Hold a password against its repetition, which forms ask for where no script can show what was typed.

    Raises UsageError("password_unlike").
    """
    repeated = form.fields.get("repeat")
    if repeated is not None and repeated != given(form):
        raise UsageError("password_unlike", "the two passwords are not the same", "type it once more")


def make() -> str:
    """A password nobody can guess, of groups that can be read out: k7mx-93fp-…"""
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))
    return "-".join(groups)
