-- Schema 4: who may use the box and what they changed; what people note about devices; roll-ups of samples.

-- What people write down about a device.
ALTER TABLE endpoint ADD COLUMN notes TEXT NOT NULL DEFAULT '';
CREATE TABLE endpoint_tag (
    endpoint_id INTEGER NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
    tag         TEXT    NOT NULL,
    PRIMARY KEY (endpoint_id, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX endpoint_tag_tag ON endpoint_tag (tag);

-- A person who may sign in.
CREATE TABLE user (
    id            INTEGER PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    role          TEXT    NOT NULL, -- viewer, operator, admin
    password_hash TEXT    NOT NULL, -- argon2id, in its own format
    made_ms       INTEGER NOT NULL,
    changed_ms    INTEGER NOT NULL  -- when the password became what it is
) STRICT;

-- A browser that is signed in. The secret is in its cookie alone.
CREATE TABLE session (
    id          INTEGER PRIMARY KEY,
    user_id     INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    secret_hash BLOB    NOT NULL UNIQUE, -- SHA-256
    kept        INTEGER NOT NULL,        -- 1: it stays signed in over weeks
    made_ms     INTEGER NOT NULL,
    used_ms     INTEGER NOT NULL,
    address     TEXT    NOT NULL,        -- where it was last used from
    agent       TEXT    NOT NULL         -- what the browser calls itself
) STRICT;
CREATE INDEX session_user ON session (user_id);

-- A program that may use the API in a person's name.
CREATE TABLE api_token (
    id          INTEGER PRIMARY KEY,
    user_id     INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    name        TEXT    NOT NULL,
    role        TEXT    NOT NULL,        -- the most it may do; never more than its person
    secret_hash BLOB    NOT NULL UNIQUE, -- SHA-256
    made_ms     INTEGER NOT NULL,
    expires_ms  INTEGER NOT NULL,        -- 0: no end
    used_ms     INTEGER NOT NULL,        -- 0: never
    UNIQUE (user_id, name)
) STRICT;

-- What people and programs changed, or tried to. The newest stay.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    who     TEXT    NOT NULL, -- a user, user/token, console, leshan; '' for a stranger
    address TEXT    NOT NULL, -- '' on the box itself
    action  TEXT    NOT NULL, -- the address of the API or the page: "POST /devices/{endpoint}/operations"
    target  TEXT    NOT NULL, -- what stands in the place of its names
    outcome TEXT    NOT NULL, -- '' when it was done, else the error's code
    detail  TEXT    NOT NULL
) STRICT;
