"""The setup code: what makes the first admin on a box that nobody can sign in to yet.

60 random bits, read from a terminal or the journal and typed on a phone, so in Crockford's base32
(https://www.crockford.com/base32.html), which has no letters that are taken for digits.
"""

import hmac
import secrets
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_GROUPS: Final = 3
_GROUP: Final = 4
# What people write for what they read.
_READ: Final = str.maketrans("OIL", "011", "- \t\r\n")
# Nobody means a longer text.
_LONGEST: Final = 64


def make_code() -> str:
    """Three groups of four: 7K3M-Q0ZD-1XWB."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)


def same_code(typed: str, code: str) -> bool:
    """Whether somebody typed the code; upper and lower case, hyphens, O and 0, I, L and 1 are one.

    Takes the same time wherever they differ.
    """
    return hmac.compare_digest(_plain(typed[:_LONGEST]), _plain(code))


def _plain(text: str) -> bytes:
    return text.upper().translate(_READ).encode("utf-8", "surrogatepass")
