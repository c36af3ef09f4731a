-- From version 3 to 4: what an administrator has set once, and how lines of a long log are found.

-- What stands for the keys that administrators have set. A key that somebody holds can come back after its generation has
-- left its row; one that an agent has made cannot, because nobody keeps it.
CREATE TABLE used_by_hand (
    place       INTEGER NOT NULL REFERENCES places (id),
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (place, fingerprint)
) STRICT, WITHOUT ROWID;

INSERT INTO used_by_hand SELECT DISTINCT place, fingerprint FROM generations WHERE on_applied = 'release';

CREATE INDEX log_by_event ON log (event, seq);
CREATE INDEX log_by_time ON log (time);
