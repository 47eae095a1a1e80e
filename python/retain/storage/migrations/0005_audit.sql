-- Every change of what the store remembers, in the transaction of the change. Each row's hash covers the row before
-- it. No text of a memory stands here: `detail` holds a commitment to it, which says nothing once its salt is erased.
CREATE TABLE audit (
    number  INTEGER PRIMARY KEY, -- 1, 2, 3, ... without gaps
    at_us   INTEGER NOT NULL,
    door    TEXT NOT NULL, -- cli, mcp, hook, import, python, upgrade
    actor   TEXT NOT NULL, -- user, assistant, hook, tool, import
    session TEXT NOT NULL,
    action  TEXT NOT NULL, -- remembered, forgotten, superseded, restored, rewritten, erased, ...
    subject TEXT NOT NULL, -- id of a memory or of an import
    detail  TEXT NOT NULL, -- JSON
    hash    BLOB NOT NULL
) STRICT;
CREATE INDEX audit_subject ON audit (subject);

CREATE TABLE audit_salt (
    subject TEXT PRIMARY KEY,
    salt    BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- `audit_*` are functions of the writer's connection (storage/audit.py): whoever changes a memory by any way is noted.
CREATE VIEW audit_entry (action, subject, detail) AS SELECT '', '', '';
CREATE TRIGGER audit_append INSTEAD OF INSERT ON audit_entry BEGIN
    INSERT INTO audit (number, at_us, door, actor, session, action, subject, detail, hash)
    SELECT n, at_us, door, actor, session, NEW.action, NEW.subject, NEW.detail,
           audit_hash(before, n, at_us, door, actor, session, NEW.action, NEW.subject, NEW.detail)
    FROM (SELECT coalesce(max(number), 0) + 1 AS n,
                 coalesce((SELECT hash FROM audit ORDER BY number DESC LIMIT 1), x'') AS before,
                 audit_now() AS at_us, audit_door() AS door, audit_actor() AS actor, audit_session() AS session
          FROM audit);
END;

CREATE TRIGGER audit_kept BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;

CREATE TRIGGER audit_remembered AFTER INSERT ON memory BEGIN
    INSERT INTO audit_salt VALUES (NEW.id, randomblob(16));
    INSERT INTO audit_entry SELECT 'remembered', NEW.id,
        json_object('kind', NEW.kind, 'origin', NEW.origin, 'commitment', audit_commitment(salt, NEW.content_hash))
        FROM audit_salt WHERE subject = NEW.id;
END;
CREATE TRIGGER audit_status AFTER UPDATE OF status ON memory WHEN OLD.status IS NOT NEW.status BEGIN
    INSERT INTO audit_entry SELECT iif(NEW.status = 'active', 'restored', NEW.status), NEW.id, '{}';
END;
CREATE TRIGGER audit_rewritten AFTER UPDATE OF content_hash ON memory
WHEN OLD.content_hash IS NOT NEW.content_hash BEGIN
    INSERT OR IGNORE INTO audit_salt VALUES (NEW.id, randomblob(16));
    INSERT INTO audit_entry SELECT 'rewritten', NEW.id,
        json_object('commitment', audit_commitment(salt, NEW.content_hash)) FROM audit_salt WHERE subject = NEW.id;
END;
CREATE TRIGGER audit_erased AFTER DELETE ON memory BEGIN
    DELETE FROM audit_salt WHERE subject = OLD.id;
    INSERT INTO audit_entry SELECT 'erased', OLD.id, '{}';
END;
CREATE TRIGGER audit_import_begun AFTER INSERT ON import_run BEGIN
    INSERT INTO audit_entry SELECT 'import begun', NEW.id, json_object('source', NEW.source);
END;
CREATE TRIGGER audit_import_status AFTER UPDATE OF status ON import_run WHEN OLD.status IS NOT NEW.status BEGIN
    INSERT INTO audit_entry SELECT 'import ' || NEW.status, NEW.id, '{}';
END;

-- What was stored before there was an audit is known by its keys alone.
INSERT INTO audit_entry SELECT 'begun', 'store', json_object('memories', count(*), 'key_max', coalesce(max(key), 0)) FROM memory;
