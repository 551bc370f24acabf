"""What people note about devices, put into the database of the house without a store."""

import sqlite3
from collections.abc import Sequence

from flownexus_appliance.fleet.noted import label_of, notes_of, tags_of


def check_noted(label: str | None, notes: str | None, tags: Sequence[str] | None) -> None:
    """What the fleet would say to it; raises UsageError."""
    if label is not None:
        label_of(label)
    if notes is not None:
        notes_of(notes)
    if tags is not None:
        tags_of(tags)


def note(
    connection: sqlite3.Connection, endpoint: str, notes: str | None, tags: Sequence[str] | None
) -> None:
    """Keep notes and tags of an endpoint, checked as the fleet does; raises UsageError."""
    if notes is not None:
        connection.execute("UPDATE endpoint SET notes = ? WHERE name = ?", (notes_of(notes), endpoint))
    if tags is not None:
        kept = tags_of(tags)
        (number,) = connection.execute("SELECT id FROM endpoint WHERE name = ?", (endpoint,)).fetchone()
        connection.execute("DELETE FROM endpoint_tag WHERE endpoint_id = ?", (number,))
        connection.executemany("INSERT INTO endpoint_tag VALUES (?, ?)", ((number, tag) for tag in kept))
