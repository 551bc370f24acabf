"""Which campaigns go: those that ended long ago, with their updates.

A piece at a time, in the writer's thread: a campaign may have thousands of devices.
"""

import sqlite3
from typing import Final

from .firmware_rows import CAMPAIGN_IS_ENDED, IS_ENDED, IS_UNFINISHED

# Of the campaigns that have ended, the newest stay: so many, and with so many updates in all, but at least
# one. An update takes about 500 bytes with its steps.
CAMPAIGNS_KEPT: Final = 200
UPDATES_KEPT: Final = 100_000
PIECE_UPDATES: Final = 200

_OLDEST: Final = f"""
    WITH ended AS (
        SELECT id, (SELECT count(*) FROM firmware_update WHERE campaign_id = c.id) AS updates
        FROM firmware_campaign c WHERE {CAMPAIGN_IS_ENDED}),
    placed AS (
        SELECT id, row_number() OVER newest_first AS place, sum(updates) OVER newest_first AS updates
        FROM ended WINDOW newest_first AS (ORDER BY id DESC))
    SELECT id FROM placed
    WHERE (place > :campaigns OR place > 1 AND updates > :updates)
        -- What goes on although its campaign was stopped is still somebody's.
        AND NOT EXISTS (SELECT 1 FROM firmware_update u WHERE u.campaign_id = placed.id AND {IS_UNFINISHED})
    ORDER BY id LIMIT 1
"""
# One that has begun to go, goes: without its first updates the rest might well have room.
_GOING: Final = "firmware_campaign_going"
_IS_GOING: Final = "SELECT CAST(value AS INTEGER) FROM setting WHERE name = ?"
_BEGIN: Final = "INSERT INTO setting VALUES (?, ?)"
_END: Final = "DELETE FROM setting WHERE name = ?"
_DROP_UPDATES: Final = f"""
    DELETE FROM firmware_update WHERE id IN (
        SELECT id FROM firmware_update WHERE campaign_id = :campaign AND {IS_ENDED} LIMIT :piece)
"""
_DROP: Final = """
    DELETE FROM firmware_campaign WHERE id = :campaign
        AND NOT EXISTS (SELECT 1 FROM firmware_update WHERE campaign_id = :campaign)
"""


def make_room(connection: sqlite3.Connection) -> bool:
    """Take a piece of the oldest campaign that is not to be kept; False when there is none."""
    going = connection.execute(_IS_GOING, (_GOING,)).fetchone()
    if going is None:
        wanted = {"campaigns": CAMPAIGNS_KEPT, "updates": UPDATES_KEPT}
        going = connection.execute(_OLDEST, wanted).fetchone()
        if going is None:
            return False
        connection.execute(_BEGIN, (_GOING, str(going[0])))
    piece = {"campaign": going[0], "piece": PIECE_UPDATES}
    if connection.execute(_DROP_UPDATES, piece).rowcount < PIECE_UPDATES:
        connection.execute(_DROP, {"campaign": going[0]})
        connection.execute(_END, (_GOING,))
    return True
