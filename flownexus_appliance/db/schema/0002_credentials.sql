-- Schema 2: who a device is, and the DTLS sessions by which it says so. From here on the file holds
-- keys; it and what stands beside it are readable for their owner alone.

-- The DTLS session a registration was last used by; '' over plain CoAP.
ALTER TABLE registration ADD COLUMN session TEXT NOT NULL DEFAULT '';

-- What a device proves itself by: a pre-shared key or a certificate, made for one endpoint name. The
-- device may never have been seen: its endpoint then has the times 0. The last that ended of a name
-- stay, without their keys, so that it can be told who could come in when.
CREATE TABLE credential (
    id            INTEGER PRIMARY KEY,
    endpoint      TEXT    NOT NULL,
    kind          TEXT    NOT NULL, -- psk, certificate
    identity      BLOB    NOT NULL, -- the PSK identity; the SHA-256 of the certificate
    secret        BLOB    NOT NULL, -- the PSK; empty for a certificate and once it has ended
    certificate   BLOB    NOT NULL, -- DER; empty for a PSK
    serial        TEXT    NOT NULL, -- of the certificate, hexadecimal
    not_after_ms  INTEGER NOT NULL, -- 0: no end
    state         TEXT    NOT NULL, -- offered, active, replaced, revoked
    origin        TEXT    NOT NULL, -- operator, enrolment, bootstrap
    label         TEXT    NOT NULL,
    made_ms       INTEGER NOT NULL,
    first_used_ms INTEGER NOT NULL, -- 0: never
    last_used_ms  INTEGER NOT NULL,
    ended_ms      INTEGER NOT NULL
) STRICT;
CREATE INDEX credential_endpoint ON credential (endpoint);
-- A proof that is good stands for one device.
CREATE UNIQUE INDEX credential_proof ON credential (kind, identity) WHERE state IN ('offered', 'active');

-- DTLS sessions by our Connection ID (RFC 9146), so that no device shakes hands again because the box
-- restarted. Snapshots hold master secrets.
CREATE TABLE dtls_session (
    id            BLOB    PRIMARY KEY,
    proof_kind    TEXT    NOT NULL, -- as credential.kind
    proof         BLOB    NOT NULL, -- as credential.identity
    snapshot      BLOB    NOT NULL, -- as the engine made it at the handshake
    resumption_id BLOB    NOT NULL, -- RFC 5246 7.4.1.2; empty where it cannot be resumed
    live          INTEGER NOT NULL  -- 0: closed, can only be resumed
) STRICT, WITHOUT ROWID;

-- What moves with the records of a session, apart from it: small rows, for they are written often.
CREATE TABLE dtls_counter (
    id       BLOB    PRIMARY KEY REFERENCES dtls_session (id) ON DELETE CASCADE,
    counters BLOB    NOT NULL,
    address  TEXT    NOT NULL,
    used_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What bootstrap gives a device; '' is the default for those that have nothing of their own.
CREATE TABLE bootstrap_config (
    endpoint TEXT PRIMARY KEY,
    config   TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;
