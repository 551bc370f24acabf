"""What people note about endpoints, and the list of endpoints that is searched by it (schema 4).

SQL and rows for `Store`, which writes, and `Reader`, which has the connections.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .writer import Batch

LISTED: Final = "SELECT name, label, last_seen_ms FROM endpoint"
LISTED_TAGGED: Final = f"{LISTED} WHERE id IN (SELECT endpoint_id FROM endpoint_tag WHERE tag = :tag)"
TAGS: Final = "SELECT tag, count(*) AS devices FROM endpoint_tag GROUP BY tag"
TAGGED: Final = "SELECT e.name, t.tag FROM endpoint_tag t JOIN endpoint e ON e.id = t.endpoint_id"
# How many operations failed lately. Only the newest are looked at: what the page says beyond that is "more".
MAX_FAILED: Final = 1000
FAILED: Final = f"""
    SELECT count(*) AS failed FROM (
        SELECT changed_ms FROM endpoint_operation WHERE status = 'FAILED' ORDER BY id DESC LIMIT {MAX_FAILED})
    WHERE changed_ms >= :since_ms
"""


@dataclass(frozen=True, slots=True)
class ListedEndpoint:
    """What an endpoint is found and sorted by; `last_seen_ms` as the file has it, 0 for never."""

    endpoint: str
    label: str
    last_seen_ms: int

    @property
    def title(self) -> str:
        """What people see: the label, or the name where there is none."""
        return self.label or self.endpoint


@dataclass(frozen=True, slots=True)
class TagCount:
    """A tag, and how many endpoints have it."""

    tag: str
    devices: int


def same_tag(tag: str) -> str:
    """What is equal for tags that count as one: upper and lower case are."""
    return tag.casefold()


def put_notes(batch: Batch, endpoint_id: int, notes: str) -> None:
    """Keep what people wrote down about an endpoint."""
    batch.statements.append(("UPDATE endpoint SET notes = ? WHERE id = ?", (notes, endpoint_id)))


def put_tags(batch: Batch, endpoint_id: int, tags: Sequence[str]) -> None:
    """Keep these tags in place of all that an endpoint had."""
    batch.statements.append(("DELETE FROM endpoint_tag WHERE endpoint_id = ?", (endpoint_id,)))
    for tag in tags:
        batch.statements.append(("INSERT INTO endpoint_tag VALUES (?, ?)", (endpoint_id, tag)))


def spelled(tags: Sequence[str], elsewhere: Mapping[int, Sequence[str]], endpoint_id: int) -> tuple[str, ...]:
    """Tags as the other endpoints spell them, each once; in the order of the alphabet.

    A tag that no other endpoint has is spelled as it stands first in `tags`.
    """
    known = {same_tag(tag): tag for other, own in elsewhere.items() if other != endpoint_id for tag in own}
    found: dict[str, str] = {}
    for tag in tags:
        found.setdefault(same_tag(tag), known.get(same_tag(tag), tag))
    return tuple(found[key] for key in sorted(found))


def load_tags(connection: sqlite3.Connection) -> dict[int, tuple[str, ...]]:
    """All tags by endpoint id."""
    found: dict[int, tuple[str, ...]] = {}
    for number, tag in connection.execute("SELECT endpoint_id, tag FROM endpoint_tag"):
        found[number] = (*found.get(number, ()), tag)
    return found
