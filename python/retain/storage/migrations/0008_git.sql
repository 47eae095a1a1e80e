-- What git knew when a memory was made: its working tree, whether files had changed since the commit, and what they held.
ALTER TABLE memory ADD COLUMN worktree TEXT;
ALTER TABLE memory ADD COLUMN dirty INTEGER; -- NULL where that is not known
ALTER TABLE memory ADD COLUMN blobs TEXT;    -- JSON, path to blob id

-- Where else exactly the same was seen: a memory holds wherever one of its places does.
CREATE TABLE memory_sighting (
    memory    INTEGER NOT NULL REFERENCES memory (key),
    branch    TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    at_us     INTEGER NOT NULL,
    PRIMARY KEY (memory, branch, commit_id)
) STRICT, WITHOUT ROWID;
