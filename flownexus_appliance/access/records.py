"""The record of changes: a row for each, with the next commit, and the newest of them stay."""

import logging
from collections.abc import Callable
from typing import Final

from ..db.migrate import StoreError
from ..db.people import AuditRow, prune_audit, put_audit
from ..db.store import Store
from ..db.writer import when_done
from ..errors import clean
from ..lwm2m.core import Moment

# Each of these many, and at the start, the oldest beyond what is kept go.
PRUNE_EVERY: Final = 500
MAX_WHO: Final = 80
MAX_ADDRESS: Final = 64
MAX_ACTION: Final = 160
MAX_TARGET: Final = 300
MAX_OUTCOME: Final = 64
MAX_DETAIL: Final = 400
log = logging.getLogger(__name__)


class Records:
    """Puts changes on record."""

    def __init__(self, store: Store, clock: Callable[[], Moment]) -> None:
        self._store = store
        self._clock = clock
        self._until_prune = 1

    def note(self, who: str, address: str, action: str, target: str, outcome: str, detail: str) -> None:
        """Put a change on record, its texts made printable and cut.

        The change has happened, or was refused: it is not undone because it cannot be recorded. The journal
        has it then.
        """
        row = AuditRow(
            id=0,
            time_ms=self._clock().wall_ms,
            who=clean(who, MAX_WHO),
            address=clean(address, MAX_ADDRESS),
            action=clean(action, MAX_ACTION),
            target=clean(target, MAX_TARGET),
            outcome=clean(outcome, MAX_OUTCOME),
            detail=clean(detail, MAX_DETAIL),
        )
        try:
            batch = self._store.writer.gather()
        except StoreError:
            _lost(row)
            return
        put_audit(batch, row)
        self._until_prune -= 1
        if not self._until_prune:
            self._until_prune = PRUNE_EVERY
            prune_audit(batch)
        when_done(self._store.commit(), _done, lambda: _lost(row))


def _done() -> None:
    """Nothing is left to do for what is on disk."""


def _lost(row: AuditRow) -> None:
    log.warning(
        "change is not on record",
        extra={"WHO": row.who, "ACTION": row.action, "TARGET": row.target, "OUTCOME": row.outcome},
    )
