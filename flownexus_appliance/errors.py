"""The errors of the whole house.

Owns the error type every layer raises. Knows nothing of CoAP or HTTP: `coap/` and `http/` each
hold a table from `code` to their own status.
"""

from typing import Final

MAX_PEER_TEXT: Final = 120


class ApplianceError(Exception):
    """What failed, said once for the operator and once for a program.

    `code` is stable snake_case, `message` says what failed and where, `hint` what to do about it.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class PeerError(ApplianceError):
    """The other side of the wire sent something that cannot be used: their fault."""


class UsageError(ApplianceError):
    """The operator or a program of theirs asked for something that cannot be done: our side."""


def clean(text: str, limit: int = MAX_PEER_TEXT) -> str:
    """Make text from a peer fit for a log line or a message: printable, at most `limit` characters."""
    short = text[: limit + 1]
    printable = "".join(c if c.isprintable() else "?" for c in short)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"
