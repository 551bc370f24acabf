"""What people and tokens may be called."""

import re
from typing import Final

from ..errors import UsageError, clean

_USER: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,39}")
# What stands where a user's name would, in records and in what was asked for; and what may come to.
RESERVED: Final = frozenset(
    "anonymous bootstrap console everybody fleet flownexus leshan nobody seed setup stranger system"
    " watch web".split()
)


def user_name(text: str) -> str:
    """A user's name as it is kept: lower case, nothing around it. Raises UsageError("user_name_invalid")."""
    name = folded(text)
    if not name:
        raise UsageError(
            "user_name_invalid",
            f"not a name for a user: {clean(text, 40)}",
            "use 1 to 32 of a-z, 0-9, dot, hyphen and underscore, a letter or digit first",
        )
    if name in RESERVED:
        raise UsageError(
            "user_name_invalid",
            f"{name} stands for the box itself in its records",
            "choose another name",
        )
    return name


def folded(text: str) -> str:
    """The name that somebody means who typed this; "" for what can be no user's name."""
    name = text.strip().lower()
    return name if _USER.fullmatch(name) else ""


def token_name(text: str) -> str:
    """A token's name, nothing around it. Raises UsageError("token_name_invalid")."""
    name = text.strip()
    if not _TOKEN.fullmatch(name):
        raise UsageError(
            "token_name_invalid",
            f"not a name for a token: {clean(text, 40)}",
            "use 1 to 40 of A-Z, a-z, 0-9, space, dot, hyphen and underscore, a letter or digit first",
        )
    return name
