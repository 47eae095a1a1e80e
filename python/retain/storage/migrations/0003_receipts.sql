-- One row each time that memories were put before the model, or that nothing was, because nothing fitted.
CREATE TABLE injection (
    key       INTEGER PRIMARY KEY,
    id        TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES workspace (key),
    session   TEXT NOT NULL,    -- '' where the door does not know it
    door      TEXT NOT NULL,    -- recall, context, or the hook that asked
    at_us     INTEGER NOT NULL,
    tokens    INTEGER NOT NULL,
    hidden    TEXT NOT NULL     -- how many memories were withheld, and why, JSON
) STRICT;
CREATE INDEX injection_session ON injection (workspace, session, at_us);

CREATE TABLE injection_memory (
    injection INTEGER NOT NULL REFERENCES injection (key),
    memory    INTEGER NOT NULL REFERENCES memory (key),
    place     INTEGER NOT NULL, -- 0 is the first
    used      TEXT,             -- what showed that it was used: read, file, words, fix; NULL so far nothing
    PRIMARY KEY (injection, memory)
) STRICT, WITHOUT ROWID;
CREATE INDEX injection_unused ON injection_memory (memory) WHERE used IS NULL;

-- What ranking learns from it.
CREATE TABLE memory_feedback (
    memory INTEGER PRIMARY KEY REFERENCES memory (key),
    shown  INTEGER NOT NULL,
    used   INTEGER NOT NULL
) STRICT;
