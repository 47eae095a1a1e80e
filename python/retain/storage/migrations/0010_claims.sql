-- What a memory says of files that can be checked, each true when it was derived.
CREATE TABLE memory_claim (
    memory  INTEGER NOT NULL REFERENCES memory (key),
    number  INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    path    TEXT NOT NULL,
    name    TEXT NOT NULL,
    value   TEXT NOT NULL,
    line    INTEGER NOT NULL,
    digest  TEXT NOT NULL, -- of the line, without its spaces
    PRIMARY KEY (memory, number)
) STRICT, WITHOUT ROWID;

-- Whose claims were derived, and where they were true: a commit, or nothing for the files as they were then.
CREATE TABLE memory_claimed (
    memory    INTEGER PRIMARY KEY REFERENCES memory (key),
    commit_id TEXT NOT NULL,
    at_us     INTEGER NOT NULL
) STRICT;
