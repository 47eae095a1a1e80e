-- One row an import: what was read, what became of it, and whether it was taken back.
CREATE TABLE import_run (
    key        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    source     TEXT NOT NULL, -- transcripts, claude-mem, ...
    place      TEXT NOT NULL, -- the file or folder that was read
    status     TEXT NOT NULL, -- running, done, undone
    started_us INTEGER NOT NULL,
    ended_us   INTEGER,
    report     TEXT NOT NULL DEFAULT '{}' -- JSON, as it was printed
) STRICT;

-- What a run stored (`created`), and how often it met the same memory again.
CREATE TABLE import_memory (
    run     INTEGER NOT NULL REFERENCES import_run (key),
    memory  INTEGER NOT NULL REFERENCES memory (key),
    created INTEGER NOT NULL,
    merged  INTEGER NOT NULL,
    PRIMARY KEY (run, memory)
) STRICT, WITHOUT ROWID;

-- Transcripts that were told to their end; another size or time tells them again.
CREATE TABLE import_file (
    path     BLOB PRIMARY KEY,
    run      INTEGER NOT NULL REFERENCES import_run (key),
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Events of transcripts by what a fork copies, so that a copied stretch of a session is told once.
CREATE TABLE import_event (
    copy  BLOB PRIMARY KEY,
    run   INTEGER NOT NULL REFERENCES import_run (key),
    event TEXT NOT NULL,   -- its receipt
    own   INTEGER NOT NULL -- whether the run wrote that receipt; a hook may have captured the event before
) STRICT, WITHOUT ROWID;
CREATE INDEX import_event_event ON import_event (event);
