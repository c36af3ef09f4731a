-- From version 1 to 2: what rotation between two servers, renewal, administration and evidence remember.

-- The same table with row numbers of its own. Without them SQLite reads a whole row, all its peers included, whenever it
-- looks for one by host and name.
CREATE TABLE interfaces_by_row (
    host        TEXT NOT NULL REFERENCES hosts (name) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    public_key  TEXT NOT NULL UNIQUE,
    listen_port INTEGER,
    present     INTEGER NOT NULL,
    peers       TEXT NOT NULL,
    PRIMARY KEY (host, name)
) STRICT;

INSERT INTO interfaces_by_row SELECT host, name, public_key, listen_port, present, peers FROM interfaces;
DROP TABLE interfaces;
ALTER TABLE interfaces_by_row RENAME TO interfaces;

-- when the code of a login was spent on an administrator's act; it releases nothing then
ALTER TABLE logins ADD COLUMN acted_at INTEGER;

-- Evidence: up to which line the audit log was exported and removed, when the store was last backed up, and the last line
-- of the backup from which it was restored.
ALTER TABLE meta ADD COLUMN removed_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN removed_hash TEXT;
ALTER TABLE meta ADD COLUMN backed_up_at INTEGER;
ALTER TABLE meta ADD COLUMN restored_seq INTEGER;

DROP TRIGGER log_lines_stay;
CREATE TRIGGER log_lines_stay BEFORE DELETE ON log WHEN OLD.seq > (SELECT removed_seq FROM meta)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER only_exported_lines_go BEFORE UPDATE OF removed_seq, removed_hash ON meta
WHEN NEW.removed_seq <= OLD.removed_seq OR NEW.removed_hash IS NOT (SELECT hash FROM log WHERE seq = NEW.removed_seq)
BEGIN SELECT RAISE(ABORT, 'only the oldest lines of the audit log can be removed, by the hash of the last one'); END;

-- Lines of the audit log that hosts have seen and that it does not have.
CREATE TABLE lost_heads (
    host     TEXT PRIMARY KEY,
    seq      INTEGER NOT NULL,
    hash     TEXT NOT NULL,
    last_seq INTEGER NOT NULL,
    found_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How many lines of an hour a host has caused.
CREATE TABLE host_quotas (
    host TEXT PRIMARY KEY,
    hour INTEGER NOT NULL,
    used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE places ADD COLUMN deposit_hour INTEGER NOT NULL DEFAULT 0;
ALTER TABLE places ADD COLUMN deposits INTEGER NOT NULL DEFAULT 0;

-- which public keys are peers of which interface: what `interfaces.peers` says, to be found by either end. It refers to
-- the host alone: with each row that refers to an interface SQLite would read that interface whole, with all its peers.
CREATE TABLE relations (
    host      TEXT NOT NULL REFERENCES hosts (name) ON DELETE CASCADE,
    interface TEXT NOT NULL,
    peer      TEXT NOT NULL,
    PRIMARY KEY (host, interface, peer)
) STRICT, WITHOUT ROWID;

CREATE INDEX relations_by_peer ON relations (peer);
CREATE INDEX devices_by_owner ON devices (owner);

CREATE TRIGGER interface_gone AFTER DELETE ON interfaces
BEGIN DELETE FROM relations WHERE host = OLD.host AND interface = OLD.name; END;

INSERT OR IGNORE INTO relations
    SELECT host, name, json_extract(peer.value, '$.public_key') FROM interfaces, json_each(interfaces.peers) AS peer;

ALTER TABLE hosts ADD COLUMN stood_down INTEGER NOT NULL DEFAULT 0;

-- Under which key the latest handshake was first reported, and whether the peer's key of then was there before it.
ALTER TABLE handshakes ADD COLUMN fingerprint TEXT;
ALTER TABLE handshakes ADD COLUMN with_this_key INTEGER NOT NULL DEFAULT 0;

-- Peers that root on their host has opened without the bastion.
CREATE TABLE opened_by_root (
    host      TEXT NOT NULL REFERENCES hosts (name) ON DELETE CASCADE,
    interface TEXT NOT NULL,
    peer      TEXT NOT NULL,
    until     INTEGER NOT NULL,
    PRIMARY KEY (host, interface, peer)
) STRICT, WITHOUT ROWID;

-- The last known state of each connection: each change of it leaves one line in the log, also over a restart. A
-- connection stands here by the end that its name puts first.
CREATE TABLE states (
    host       TEXT NOT NULL,
    interface  TEXT NOT NULL,
    peer       TEXT NOT NULL,
    state      TEXT NOT NULL,
    generation INTEGER,
    deadline   INTEGER,
    look_again INTEGER,
    PRIMARY KEY (host, interface, peer)
) STRICT, WITHOUT ROWID;

CREATE INDEX states_by_peer ON states (peer);
CREATE INDEX states_by_time ON states (look_again) WHERE look_again IS NOT NULL;

-- A generation that two servers use together: when the second one held it, and when it used it. The places of both ends
-- have rows; the generations stand at the first one.
ALTER TABLE generations ADD COLUMN together INTEGER NOT NULL DEFAULT 0;
ALTER TABLE generations ADD COLUMN staged_at INTEGER;
ALTER TABLE generations ADD COLUMN other_applied_at INTEGER;

-- What an administrator hands a person to come in with. A row goes when it is used, replaced or void.
CREATE TABLE handouts (
    person     TEXT NOT NULL REFERENCES people (name) ON DELETE CASCADE,
    kind       TEXT NOT NULL CHECK (kind IN ('invitation', 'telephone')),
    hash       BLOB NOT NULL,
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (person, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE person_keys (
    person      TEXT NOT NULL REFERENCES people (name) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL,
    public_key  TEXT NOT NULL,
    comment     TEXT NOT NULL,
    added_at    INTEGER NOT NULL,
    PRIMARY KEY (person, fingerprint)
) STRICT, WITHOUT ROWID;

-- What a deposited generation becomes when the server side confirms it: NULL: it waits for a person; 'renew': it takes
-- over the session that runs; 'release': it is released as its own row says.
ALTER TABLE generations ADD COLUMN on_applied TEXT CHECK (on_applied IN ('renew', 'release'));
-- What a client read back from its interface after it had got the key.
ALTER TABLE generations ADD COLUMN client_fingerprint TEXT;
-- By whom and why it was released without a login.
ALTER TABLE generations ADD COLUMN overridden TEXT;
-- An administrator has set a key where no policy applies: none of wgmfa's affair until a generation is applied again.
ALTER TABLE places ADD COLUMN set_free INTEGER NOT NULL DEFAULT 0;
