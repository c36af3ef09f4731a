-- Version 1. Times are milliseconds since 1970, keys are base64 as wg(8) prints them.

CREATE TABLE meta (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    instance        TEXT NOT NULL,
    sealing_check   BLOB NOT NULL,
    last_time       INTEGER NOT NULL,
    log_seq         INTEGER NOT NULL DEFAULT 0,
    log_hash        TEXT NOT NULL,
    policies_digest TEXT,
    policies_since  INTEGER,
    quota_hour      INTEGER NOT NULL DEFAULT 0,
    quota_used      INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE people (
    name            TEXT PRIMARY KEY,
    admin           INTEGER NOT NULL,
    disabled        INTEGER NOT NULL DEFAULT 0,
    password_kind   TEXT NOT NULL CHECK (password_kind IN ('hashed', 'system', 'unset')),
    password_hash   TEXT CHECK ((password_hash IS NOT NULL) = (password_kind = 'hashed')),
    code_sealed     BLOB,
    code_parameters TEXT,
    code_number     INTEGER NOT NULL DEFAULT 1,
    last_step       INTEGER,
    added_at        INTEGER NOT NULL,
    last_login_at   INTEGER,
    last_login_from TEXT,
    day_began       INTEGER,
    day_failures    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE recovery_codes (
    person  TEXT NOT NULL REFERENCES people (name) ON DELETE CASCADE,
    hash    BLOB NOT NULL,
    used_at INTEGER,
    PRIMARY KEY (person, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE guesses (
    person       TEXT NOT NULL REFERENCES people (name) ON DELETE CASCADE,
    source       TEXT NOT NULL,
    failures     INTEGER NOT NULL,
    locks        INTEGER NOT NULL,
    locked_until INTEGER,
    last_success INTEGER,
    PRIMARY KEY (person, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE logins (
    id          TEXT PRIMARY KEY,
    person      TEXT NOT NULL REFERENCES people (name) ON DELETE CASCADE,
    code_at     INTEGER,
    passed_at   INTEGER,
    released_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE hosts (
    name          TEXT PRIMARY KEY,
    public_key    TEXT NOT NULL UNIQUE,
    owner         TEXT REFERENCES people (name),
    disabled      INTEGER NOT NULL DEFAULT 0,
    added_at      INTEGER NOT NULL,
    last_seen     INTEGER,
    next_round    INTEGER,
    report_digest BLOB,
    refused       TEXT NOT NULL DEFAULT '[]'
) STRICT, WITHOUT ROWID;

-- An interface that is not reported any more stays, so that it cannot come back with another key unnoticed.
CREATE TABLE interfaces (
    host        TEXT NOT NULL REFERENCES hosts (name) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    public_key  TEXT NOT NULL UNIQUE,
    listen_port INTEGER,
    present     INTEGER NOT NULL,
    peers       TEXT NOT NULL,
    PRIMARY KEY (host, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE pending_keys (
    host       TEXT NOT NULL REFERENCES hosts (name) ON DELETE CASCADE,
    interface  TEXT NOT NULL,
    public_key TEXT NOT NULL,
    PRIMARY KEY (host, interface)
) STRICT, WITHOUT ROWID;

CREATE TABLE handshakes (
    host      TEXT NOT NULL REFERENCES hosts (name) ON DELETE CASCADE,
    interface TEXT NOT NULL,
    peer      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (host, interface, peer)
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    name       TEXT PRIMARY KEY,
    owner      TEXT NOT NULL REFERENCES people (name),
    public_key TEXT NOT NULL UNIQUE,
    disabled   INTEGER NOT NULL DEFAULT 0,
    added_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A peer of a server side. The row stays for ever: it remembers the highest generation.
CREATE TABLE places (
    id          INTEGER PRIMARY KEY,
    host        TEXT NOT NULL,
    interface   TEXT NOT NULL,
    peer        TEXT NOT NULL,
    highest     INTEGER NOT NULL,
    ordered     TEXT,
    kept_locked TEXT,
    UNIQUE (host, interface, peer)
) STRICT;

CREATE INDEX places_by_peer ON places (peer);

CREATE TRIGGER generations_only_go_up BEFORE UPDATE OF highest ON places WHEN NEW.highest < OLD.highest
BEGIN SELECT RAISE(ABORT, 'generations only go up'); END;

CREATE TRIGGER places_stay BEFORE DELETE ON places
BEGIN SELECT RAISE(ABORT, 'the highest generation is remembered for ever'); END;

CREATE TABLE generations (
    place         INTEGER NOT NULL REFERENCES places (id),
    generation    INTEGER NOT NULL,
    phase         TEXT NOT NULL CHECK (phase IN ('deposited', 'applied', 'released', 'ended')),
    sealed        BLOB CHECK ((sealed IS NULL) = (phase = 'ended')),
    fingerprint   TEXT NOT NULL,
    deposited_at  INTEGER NOT NULL,
    applied_at    INTEGER,
    released_at   INTEGER,
    renewed_at    INTEGER,
    released_to   TEXT,
    released_for  TEXT,
    released_from TEXT,
    deadline      INTEGER CHECK (phase <> 'released' OR deadline IS NOT NULL),
    ended_at      INTEGER,
    ended_because TEXT,
    PRIMARY KEY (place, generation)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX one_is_accepted ON generations (place) WHERE phase IN ('applied', 'released');
CREATE UNIQUE INDEX one_is_deposited ON generations (place) WHERE phase = 'deposited';
CREATE INDEX released_by_deadline ON generations (deadline) WHERE phase = 'released';

CREATE TABLE log (
    seq        INTEGER PRIMARY KEY,
    time       INTEGER NOT NULL,
    event      TEXT NOT NULL,
    user       TEXT,
    actor      TEXT,
    source     TEXT,
    host       TEXT,
    device     TEXT,
    connection TEXT,
    generation INTEGER,
    reason     TEXT,
    hash       TEXT NOT NULL
) STRICT;

CREATE TRIGGER log_lines_stay BEFORE DELETE ON log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER log_lines_are_not_changed BEFORE UPDATE ON log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
