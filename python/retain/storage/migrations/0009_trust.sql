-- How far a memory may be believed (retain/trust.py), and why it waits for a review; NULL where it does not.
ALTER TABLE memory ADD COLUMN trust TEXT NOT NULL DEFAULT 'untrusted';
ALTER TABLE memory ADD COLUMN held TEXT;
CREATE INDEX memory_held ON memory (held) WHERE held IS NOT NULL;

-- Since when a session has read text that anybody may have written; NULL where it has not.
ALTER TABLE session ADD COLUMN tainted_us INTEGER;
CREATE INDEX session_tainted ON session (id, tainted_us) WHERE tainted_us IS NOT NULL;

-- What that was: a tool, and the address, file or command.
CREATE TABLE session_taint (
    workspace INTEGER NOT NULL,
    session   TEXT NOT NULL,
    source    TEXT NOT NULL, -- web, tool, file, command, text, memory
    detail    TEXT NOT NULL,
    at_us     INTEGER NOT NULL,
    PRIMARY KEY (workspace, session, source, detail)
) STRICT, WITHOUT ROWID;

-- How much a session gave in an hour, from one origin; `band` is empty for all of it, else a mark that similar texts share.
CREATE TABLE source_rate (
    workspace INTEGER NOT NULL,
    session   TEXT NOT NULL,
    origin    TEXT NOT NULL,
    hour      INTEGER NOT NULL,
    band      BLOB NOT NULL,
    count     INTEGER NOT NULL,
    at_us     INTEGER NOT NULL,
    PRIMARY KEY (workspace, session, origin, hour, band)
) STRICT, WITHOUT ROWID;

-- What came before is judged by its origin, and by what its session is known to have read.
INSERT INTO session_taint
    SELECT workspace, session, 'web', coalesce(extra ->> 'tool', ''), min(occurred_us) FROM memory
    WHERE session IS NOT NULL AND kind = 'search' AND extra ->> 'tool' IN ('WebFetch', 'WebSearch')
    GROUP BY workspace, session, extra ->> 'tool';
INSERT INTO session (workspace, id, started_us)
    SELECT workspace, session, min(at_us) FROM session_taint WHERE true GROUP BY workspace, session
    ON CONFLICT (workspace, id) DO NOTHING;
UPDATE session SET tainted_us = (SELECT min(at_us) FROM session_taint t
    WHERE t.workspace = session.workspace AND t.session = session.id);
UPDATE memory SET trust = CASE origin WHEN 'user' THEN 'user' WHEN 'hook' THEN 'observed' WHEN 'assistant' THEN
    iif(EXISTS (SELECT 1 FROM session s WHERE s.id = memory.session AND s.tainted_us <= memory.occurred_us),
        'untrusted', 'claimed') ELSE 'untrusted' END;

-- What no memory and no export can know: of it the word is made between which memories are quoted.
CREATE TABLE secret (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO secret VALUES ('boundary', lower(hex(randomblob(32))));
