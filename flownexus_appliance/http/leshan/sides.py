"""Leshan is two servers with an API each; the box is one and can show itself as either, or as both."""

from enum import StrEnum


class Side(StrEnum):
    """Whose API is spoken at an address."""

    SERVER = "server"
    BOOTSTRAP = "bootstrap"
    BOTH = "both"
