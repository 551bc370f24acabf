-- Schema 1: what LwM2M devices are and what they said.
-- Times are integer milliseconds since 1970-01-01 UTC, unless the name says otherwise.

-- A device, by its Endpoint Client Name. Outlives its registrations.
CREATE TABLE endpoint (
    id            INTEGER PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    label         TEXT    NOT NULL DEFAULT '',
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms  INTEGER NOT NULL
) STRICT;

-- The live registration of an endpoint (LwM2M Core 1.1.1 section 6.2); at most one each.
-- Deleted on deregistration and expiry. `message_id` and `token` make a retransmitted Register
-- recognizable after a restart.
CREATE TABLE registration (
    id               TEXT    PRIMARY KEY,
    endpoint_id      INTEGER NOT NULL UNIQUE REFERENCES endpoint (id) ON DELETE CASCADE,
    address          TEXT    NOT NULL,
    lwm2m_version    TEXT    NOT NULL,
    lifetime_s       INTEGER NOT NULL,
    binding          TEXT    NOT NULL,
    queue_mode       INTEGER NOT NULL,
    root_path        TEXT    NOT NULL,
    objects          TEXT    NOT NULL, -- JSON: {"3": {"version": "1.1", "instances": [0]}}
    content_formats  TEXT    NOT NULL, -- JSON: [112, 110]
    attributes       TEXT    NOT NULL, -- JSON: further query parameters, as sent
    message_id       INTEGER NOT NULL,
    token            BLOB    NOT NULL,
    registered_ms    INTEGER NOT NULL,
    updated_ms       INTEGER NOT NULL,
    expires_ms       INTEGER NOT NULL
) STRICT;

-- What a resource is, per object and resource number (the seed's ResourceType).
CREATE TABLE resource_type (
    id          INTEGER PRIMARY KEY,
    object_id   INTEGER NOT NULL,
    resource_id INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    data_type   TEXT    NOT NULL,
    units       TEXT    NOT NULL,
    UNIQUE (object_id, resource_id)
) STRICT;

-- One resource (or resource instance) of one endpoint: the key of its samples.
CREATE TABLE series (
    id               INTEGER PRIMARY KEY,
    endpoint_id      INTEGER NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
    resource_type_id INTEGER NOT NULL REFERENCES resource_type (id),
    path             TEXT    NOT NULL,
    data_type        TEXT    NOT NULL, -- as the device speaks it
    UNIQUE (endpoint_id, path)
) STRICT;

-- The samples (the seed's Resource): one row a value. `value` keeps the type it came in:
-- REAL and INTEGER for numbers, booleans (0, 1) and times (seconds since 1970), TEXT for strings,
-- links, integers beyond 63 bits and non-finite floats, BLOB for opaque.
CREATE TABLE resource (
    series_id INTEGER NOT NULL,
    time_ms   INTEGER NOT NULL,
    value     ANY     NOT NULL,
    PRIMARY KEY (series_id, time_ms)
) STRICT, WITHOUT ROWID;

-- An observation a device holds for us, by the token we chose (RFC 7641). Survives restarts, so
-- that a notification which arrives after one is still matched.
CREATE TABLE observation (
    token          BLOB    PRIMARY KEY,
    endpoint_id    INTEGER NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
    paths          TEXT    NOT NULL, -- JSON list; more than one path is an Observe-Composite
    content_format INTEGER NOT NULL,
    created_ms     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX observation_endpoint ON observation (endpoint_id);

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
