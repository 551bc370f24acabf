-- Schema 3: what is asked of devices, and what they are wanted to report.

-- How long this Queue Mode device listens after it was heard, in seconds; NULL: as configured.
ALTER TABLE endpoint ADD COLUMN awake_window_s REAL;

-- 1: Observe-Composite, which may be of a single path too.
ALTER TABLE observation ADD COLUMN composite INTEGER NOT NULL DEFAULT 0;
UPDATE observation SET composite = json_array_length(paths) > 1;

-- An operation on a device (the seed's EndpointOperation): a row first, then a request. The newest of each
-- endpoint stay when they are done.
CREATE TABLE endpoint_operation (
    id             INTEGER PRIMARY KEY,
    endpoint_id    INTEGER NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
    kind           TEXT    NOT NULL, -- read, write, execute, ...
    request        TEXT    NOT NULL, -- JSON: paths, values, arguments, attributes, content_format
    status         TEXT    NOT NULL, -- QUEUED, SENDING, CONFIRMED, FAILED, EXPIRED, CANCELLED
    attempts       INTEGER NOT NULL,
    asked_by       TEXT    NOT NULL, -- console, web, leshan, ...
    retry_of       INTEGER NOT NULL, -- the operation that this one repeats, 0: none
    created_ms     INTEGER NOT NULL,
    deadline_ms    INTEGER NOT NULL, -- 0: none
    changed_ms     INTEGER NOT NULL, -- when the status became what it is
    code           TEXT    NOT NULL, -- the CoAP code of the answer as "2.05", '' without one
    message        TEXT    NOT NULL, -- the device's words, or ours where there is no answer
    hint           TEXT    NOT NULL,
    result         TEXT    NOT NULL  -- JSON: values, links, location; '' without any
) STRICT;
CREATE INDEX endpoint_operation_endpoint ON endpoint_operation (endpoint_id, id);
CREATE INDEX endpoint_operation_status ON endpoint_operation (status, id);

-- Each time that an operation was sent.
CREATE TABLE operation_attempt (
    operation_id INTEGER NOT NULL REFERENCES endpoint_operation (id) ON DELETE CASCADE,
    number       INTEGER NOT NULL,
    started_ms   INTEGER NOT NULL,
    ended_ms     INTEGER NOT NULL, -- 0: the box went down meanwhile, or it is under way
    code         TEXT    NOT NULL, -- as above
    message      TEXT    NOT NULL,
    PRIMARY KEY (operation_id, number)
) STRICT, WITHOUT ROWID;

-- What people want a device to report, beside the watch list; begun anew after each registration.
CREATE TABLE wanted_observation (
    endpoint_id    INTEGER NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
    paths          TEXT    NOT NULL, -- JSON list
    composite      INTEGER NOT NULL,
    content_format INTEGER,          -- NULL: the best that the device speaks
    wanted         INTEGER NOT NULL, -- 0: somebody ended it, so the watch list leaves it alone
    asked_by       TEXT    NOT NULL,
    since_ms       INTEGER NOT NULL,
    PRIMARY KEY (endpoint_id, paths)
) STRICT, WITHOUT ROWID;

-- The attributes that are set on a device (Write-Attributes); written back after each registration.
CREATE TABLE wanted_attributes (
    endpoint_id INTEGER NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
    path        TEXT    NOT NULL,
    attributes  TEXT    NOT NULL, -- JSON: {"pmin": "10"}
    PRIMARY KEY (endpoint_id, path)
) STRICT, WITHOUT ROWID;
