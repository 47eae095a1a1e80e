-- One row a repository (or folder). `identity` survives renames, worktrees and clones.
CREATE TABLE workspace (
    key        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    identity   TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    root       TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT;

-- Every place at which a workspace was seen, so that its identity is computed once a place.
CREATE TABLE workspace_alias (
    path      TEXT PRIMARY KEY,
    workspace INTEGER NOT NULL REFERENCES workspace (key),
    seen_us   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
    workspace  INTEGER NOT NULL REFERENCES workspace (key),
    id         TEXT NOT NULL,
    started_us INTEGER NOT NULL,
    ended_us   INTEGER,
    source     TEXT NOT NULL DEFAULT '',
    end_reason TEXT NOT NULL DEFAULT '',
    tracker    TEXT NOT NULL DEFAULT '{}', -- what error-to-fix linking carries from drain to drain, JSON
    PRIMARY KEY (workspace, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE memory (
    key           INTEGER PRIMARY KEY,
    workspace     INTEGER NOT NULL REFERENCES workspace (key),
    id            TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL,
    title         TEXT NOT NULL,
    body          TEXT,             -- NULL where the text lies in memory_body
    paths         TEXT NOT NULL,    -- JSON arrays; the side tables below index them
    symbols       TEXT NOT NULL,
    tags          TEXT NOT NULL,
    origin        TEXT NOT NULL,
    status        TEXT NOT NULL,
    branch        TEXT,
    commit_id     TEXT,
    session       TEXT,
    occurred_us   INTEGER NOT NULL, -- valid time
    recorded_us   INTEGER NOT NULL, -- recorded time
    seen          INTEGER NOT NULL DEFAULT 1,
    seen_us       INTEGER NOT NULL,
    source_id     TEXT,
    dedup         BLOB NOT NULL,    -- hash of everything that makes two memories the same
    content_hash  BLOB NOT NULL,    -- hash of kind, title and text, checked on read
    supersedes    TEXT,
    superseded_by TEXT,
    reason        TEXT,
    extra         TEXT NOT NULL,
    redacted      TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX memory_source ON memory (workspace, source_id) WHERE source_id IS NOT NULL;
CREATE UNIQUE INDEX memory_dedup ON memory (workspace, dedup) WHERE status = 'active';
CREATE INDEX memory_time ON memory (workspace, status, occurred_us);
CREATE INDEX memory_kind ON memory (workspace, kind, occurred_us);
CREATE INDEX memory_session ON memory (workspace, session) WHERE session IS NOT NULL;

-- Large texts out of row, so that filters and scans read small pages.
CREATE TABLE memory_body (
    memory INTEGER PRIMARY KEY REFERENCES memory (key),
    codec  INTEGER NOT NULL, -- 0 plain UTF-8, 1 zlib
    data   BLOB NOT NULL
) STRICT;

CREATE TABLE memory_tag (
    workspace INTEGER NOT NULL,
    tag       TEXT NOT NULL,
    memory    INTEGER NOT NULL REFERENCES memory (key),
    PRIMARY KEY (workspace, tag, memory)
) STRICT, WITHOUT ROWID;

CREATE TABLE memory_path (
    workspace INTEGER NOT NULL,
    path      TEXT NOT NULL,
    memory    INTEGER NOT NULL REFERENCES memory (key),
    PRIMARY KEY (workspace, path, memory)
) STRICT, WITHOUT ROWID;

CREATE TABLE memory_link (
    source INTEGER NOT NULL REFERENCES memory (key),
    target INTEGER NOT NULL REFERENCES memory (key),
    kind   TEXT NOT NULL, -- fixes, supersedes
    PRIMARY KEY (source, target, kind)
) STRICT, WITHOUT ROWID;

CREATE VIRTUAL TABLE memory_fts USING fts5 (
    title, body, paths, symbols, context,
    content = '', contentless_delete = 1,
    tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE VIRTUAL TABLE memory_vocab USING fts5vocab (memory_fts, 'row');

-- One row an event: what the spool delivered, so that a replay changes nothing.
CREATE TABLE event_receipt (
    id          TEXT PRIMARY KEY,
    workspace   INTEGER NOT NULL REFERENCES workspace (key),
    session     TEXT NOT NULL,
    name        TEXT NOT NULL,
    received_us INTEGER NOT NULL,
    drained_us  INTEGER NOT NULL,
    outcome     TEXT NOT NULL, -- kept, merged, empty, damaged, dead
    memories    INTEGER NOT NULL,
    redacted    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX receipt_session ON event_receipt (workspace, session, received_us);

-- Events that could not be digested, with the reason; their payload is redacted like any other.
CREATE TABLE dead_letter (
    id          TEXT PRIMARY KEY,
    received_us INTEGER NOT NULL,
    error       TEXT NOT NULL,
    payload     BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Small facts about the store itself: planner coefficients, counters.
CREATE TABLE fact (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
