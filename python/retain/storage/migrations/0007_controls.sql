-- One row an event that was not kept: a hash, when, and the rule. Nothing of what it said, not even where.
CREATE TABLE excluded_event (
    id          TEXT PRIMARY KEY,
    received_us INTEGER NOT NULL,
    rule        TEXT NOT NULL -- off, private, or list: pattern
) STRICT, WITHOUT ROWID;

-- Stretches of sessions that are private; until_us is NULL while one lasts.
CREATE TABLE private_session (
    session  TEXT NOT NULL,
    since_us INTEGER NOT NULL,
    until_us INTEGER,
    PRIMARY KEY (session, since_us)
) STRICT, WITHOUT ROWID;
