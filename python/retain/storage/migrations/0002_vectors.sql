-- An embedding space: how texts become vectors. Vectors of two spaces never meet.
CREATE TABLE vector_space (
    key         INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    dim         INTEGER NOT NULL,
    model       BLOB NOT NULL,
    state       TEXT NOT NULL, -- building, serving, retired
    fitted_rows INTEGER NOT NULL,
    created_us  INTEGER NOT NULL
) STRICT;

-- The vector of an active memory: dim signed bytes as the core's `quantise` makes them.
CREATE TABLE memory_vector (
    memory    INTEGER NOT NULL REFERENCES memory (key),
    space     INTEGER NOT NULL REFERENCES vector_space (key),
    workspace INTEGER NOT NULL,
    data      BLOB NOT NULL,
    PRIMARY KEY (space, workspace, memory)
) STRICT, WITHOUT ROWID;

-- Which vectors came, changed or went, newest versions last: what a process reads to follow the others.
CREATE TABLE vector_change (
    space     INTEGER NOT NULL,
    workspace INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    memory    INTEGER NOT NULL,
    PRIMARY KEY (space, workspace, version, memory)
) STRICT, WITHOUT ROWID;
