-- From version 2 to 3: what the second way to enforce remembers: tiers that gateways let peers reach.

-- The grants in force: a row goes when its grant is over, and the audit log keeps what was. A peer here need never have
-- had a key, so it is named as its host names it.
CREATE TABLE grants (
    host         TEXT NOT NULL REFERENCES hosts (name) ON DELETE CASCADE,
    interface    TEXT NOT NULL,
    peer         TEXT NOT NULL,
    tier         TEXT NOT NULL,
    granted_at   INTEGER NOT NULL,
    deadline     INTEGER NOT NULL,
    granted_by   TEXT NOT NULL CHECK (granted_by IN ('ssh', 'code', 'override')),
    granted_to   TEXT,
    granted_for  TEXT,
    granted_from TEXT,
    overridden   TEXT CHECK ((overridden IS NOT NULL) = (granted_by = 'override')),
    confirmed    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (host, interface, peer, tier)
) STRICT, WITHOUT ROWID;

CREATE INDEX grants_by_deadline ON grants (deadline);
CREATE INDEX grants_by_peer ON grants (peer);

-- Failed codes inside tunnels. They have nothing to do with those of logins (`guesses`).
CREATE TABLE code_guesses (
    person       TEXT NOT NULL REFERENCES people (name) ON DELETE CASCADE,
    host         TEXT NOT NULL REFERENCES hosts (name) ON DELETE CASCADE,
    peer         TEXT NOT NULL,
    failures     INTEGER NOT NULL,
    locks        INTEGER NOT NULL,
    locked_until INTEGER,
    PRIMARY KEY (person, host, peer)
) STRICT, WITHOUT ROWID;
