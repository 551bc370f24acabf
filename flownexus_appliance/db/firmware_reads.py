"""What runs where: the newest values of a few resources over all endpoints (LwM2M Core 1.1.1 E.4, E.6).

Owns no connection: `Reader` reads for it. Each value is one step down an index, so that what else the devices
have told, and how often, does not matter.
"""

from dataclasses import dataclass
from typing import Final

from .writer import SqlValue

# What a device tells of itself is shown and compared up to this length.
MAX_TEXT: Final = 100
# How far back it is looked for when a version came. Devices tell it once a registration: that is long.
MAX_LOOKED: Final = 1000


def _newest(path: str) -> str:
    return f"""(
        SELECT value FROM resource WHERE series_id =
            (SELECT id FROM series WHERE endpoint_id = e.id AND path = '{path}')
        ORDER BY time_ms DESC LIMIT 1)"""


RUNNING: Final = f"""
    SELECT e.name, e.label,
           substr({_newest("/3/0/0")}, 1, {MAX_TEXT}), substr({_newest("/3/0/1")}, 1, {MAX_TEXT}),
           substr({_newest("/3/0/3")}, 1, {MAX_TEXT}), ifnull({_newest("/5/0/3")}, {_newest("/33629/0/3")})
    FROM endpoint e
    WHERE e.first_seen_ms > 0
"""
# The first of the samples at the end that all say the same.
KNOWN_SINCE: Final = f"""
    WITH told AS (
        SELECT s.id, e.name FROM endpoint e JOIN series s ON s.endpoint_id = e.id AND s.path = '/3/0/3'
        WHERE e.name IN (SELECT value FROM json_each(:names))),
    looked AS MATERIALIZED (
        SELECT told.name, r.time_ms, r.value = first_value(r.value) OVER newest_first AS same
        FROM told JOIN resource r ON r.series_id = told.id AND r.time_ms > ifnull(
            (SELECT time_ms FROM resource WHERE series_id = told.id
             ORDER BY time_ms DESC LIMIT 1 OFFSET {MAX_LOOKED}), -1)
        WINDOW newest_first AS (PARTITION BY told.id ORDER BY r.time_ms DESC)),
    others AS (SELECT name, max(time_ms) AS until_ms FROM looked WHERE NOT same GROUP BY name)
    SELECT looked.name, min(looked.time_ms)
    FROM looked LEFT JOIN others ON others.name = looked.name
    WHERE looked.time_ms > ifnull(others.until_ms, -1)
    GROUP BY looked.name
"""


@dataclass(frozen=True, slots=True)
class RunningRow:
    """An endpoint that was heard, with what it told of itself last; None for what it never told.

    The values are as the file has them: a device may tell anything. `state` is its Firmware Update object's,
    or its Advanced Firmware Update object's (33629).
    """

    endpoint: str
    label: str
    manufacturer: SqlValue | None
    model: SqlValue | None
    version: SqlValue | None
    state: SqlValue | None

    @property
    def title(self) -> str:
        """What people see: the label, or the name where there is none."""
        return self.label or self.endpoint
