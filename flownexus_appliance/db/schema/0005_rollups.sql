-- Schema 5: roll-ups of samples, and until when the samples themselves are kept.

-- Every sample before `rolled_ms` (a whole hour) is in the roll-ups as well, but for the hours in
-- `rollup_late`; none before `kept_ms` (a whole day) is left beside them.
ALTER TABLE series ADD COLUMN rolled_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN kept_ms INTEGER NOT NULL DEFAULT 0;

-- What the numbers of a series amount to in a slot of time. Where the samples are still kept a slot has a
-- row only if that stands for enough of them.
CREATE TABLE rollup (
    series_id INTEGER NOT NULL,
    level     INTEGER NOT NULL, -- 0: 5 minutes, 1: an hour, 2: a day, UTC
    slot      INTEGER NOT NULL, -- the number of the slot since 1970
    low       REAL    NOT NULL,
    mean      REAL    NOT NULL,
    high      REAL    NOT NULL,
    count     INTEGER NOT NULL,
    PRIMARY KEY (series_id, level, slot)
) STRICT, WITHOUT ROWID;

-- Hours that got samples after they had been rolled up.
CREATE TABLE rollup_late (
    series_id INTEGER NOT NULL,
    hour      INTEGER NOT NULL, -- since 1970
    PRIMARY KEY (series_id, hour)
) STRICT, WITHOUT ROWID;

-- How many of the samples of a day there are, as far as they are rolled up.
CREATE TABLE sample_day (
    day     INTEGER PRIMARY KEY, -- since 1970
    samples INTEGER NOT NULL
) STRICT;
