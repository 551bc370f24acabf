-- Schema 6: firmware, its updates and campaigns.

-- A firmware package; its bytes are in the folder `firmware` beside the database, in a file named by `sha256`.
CREATE TABLE firmware (
    id           INTEGER PRIMARY KEY,
    version      TEXT    NOT NULL, -- as a device tells it that runs it (3/0/3, 33629/x/15)
    file_name    TEXT    NOT NULL, -- as it was called where it came from
    size         INTEGER NOT NULL, -- bytes
    sha256       BLOB    NOT NULL,
    image        TEXT    NOT NULL, -- JSON: version, size, signed of its MCUboot header; '' where it has none
    note         TEXT    NOT NULL,
    model        TEXT    NOT NULL, -- for which devices: what 3/0/1 says, '' for any
    tag          TEXT    NOT NULL, -- '' for any
    from_version TEXT    NOT NULL, -- which they run now, '' for any
    added_by     TEXT    NOT NULL,
    added_ms     INTEGER NOT NULL,
    UNIQUE (sha256, version)
) STRICT;

-- A firmware for a set of devices.
CREATE TABLE firmware_campaign (
    id            INTEGER PRIMARY KEY,
    name          TEXT    NOT NULL,
    firmware_id   INTEGER NOT NULL REFERENCES firmware (id),
    instance      TEXT    NOT NULL, -- '/5/0', '/33629/1'
    delivery      TEXT    NOT NULL, -- coaps, https, coap, push; '' each device's best
    at_once       INTEGER NOT NULL,
    failure_limit INTEGER NOT NULL, -- per cent of those that ended; more, and it pauses
    starts_ms     INTEGER NOT NULL, -- 0: at once
    state         TEXT    NOT NULL, -- SCHEDULED, RUNNING, PAUSED, STOPPED, DONE
    reason        TEXT    NOT NULL, -- why it stands there: failures, asked, ''
    asked_by      TEXT    NOT NULL,
    created_ms    INTEGER NOT NULL,
    changed_ms    INTEGER NOT NULL  -- when the state became what it is
) STRICT;

-- A firmware for a device (the seed's FirmwareUpdate).
CREATE TABLE firmware_update (
    id           INTEGER PRIMARY KEY,
    endpoint_id  INTEGER NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
    firmware_id  INTEGER NOT NULL REFERENCES firmware (id),
    campaign_id  INTEGER REFERENCES firmware_campaign (id), -- NULL: none
    instance     TEXT    NOT NULL, -- '/5/0', '/33629/1'
    wanted       TEXT    NOT NULL, -- delivery as asked for: coaps, https, coap, push; '' the best
    delivery     TEXT    NOT NULL, -- as chosen, '' not yet
    tried        TEXT    NOT NULL, -- deliveries that did not work, by spaces
    ticket       TEXT    NOT NULL, -- the last part of the package's address
    state        TEXT    NOT NULL, -- WAITING, PREPARING, DOWNLOADING, ..., SUCCEEDED, FAILED, REVERTED, CANCELLED
    result       INTEGER,          -- the device's Update Result that ended it
    reason       TEXT    NOT NULL, -- a word for programs: silent, reverted, ...
    detail       TEXT    NOT NULL, -- the device's words, a code, a version
    bytes        INTEGER NOT NULL, -- of the package that have got there
    attempts     INTEGER NOT NULL,
    from_version TEXT    NOT NULL, -- what it ran before, '' where that is not known
    asked_by     TEXT    NOT NULL,
    created_ms   INTEGER NOT NULL,
    started_ms   INTEGER NOT NULL, -- 0: not yet
    changed_ms   INTEGER NOT NULL, -- when the state became what it is
    ended_ms     INTEGER NOT NULL  -- 0: not yet
) STRICT;
CREATE INDEX firmware_update_endpoint ON firmware_update (endpoint_id, id);
CREATE INDEX firmware_update_campaign ON firmware_update (campaign_id, id);
CREATE INDEX firmware_update_campaign_state ON firmware_update (campaign_id, state, id);
CREATE INDEX firmware_update_firmware ON firmware_update (firmware_id, id);
CREATE INDEX firmware_update_firmware_state ON firmware_update (firmware_id, state, id);
CREATE INDEX firmware_update_state ON firmware_update (state, id);

-- What happened to an update, in its order.
CREATE TABLE firmware_update_step (
    update_id INTEGER NOT NULL REFERENCES firmware_update (id) ON DELETE CASCADE,
    number    INTEGER NOT NULL,
    time_ms   INTEGER NOT NULL,
    state     TEXT    NOT NULL, -- what it became
    reason    TEXT    NOT NULL,
    detail    TEXT    NOT NULL,
    PRIMARY KEY (update_id, number)
) STRICT, WITHOUT ROWID;
