-- Which credential serves which session. Everything by name: numbers are a process's own.
CREATE TABLE session (
    service    TEXT    NOT NULL,
    -- Empty where nobody authenticates; no user's name is empty.
    user       TEXT    NOT NULL,
    session    TEXT    NOT NULL,
    credential TEXT    NOT NULL,
    -- 0: picked from the whole pool; 1: from the pool without external credentials.
    scope      INTEGER NOT NULL,
    -- Milliseconds since 1970.
    last_used  INTEGER NOT NULL,
    PRIMARY KEY (service, user, session)
) STRICT, WITHOUT ROWID;

CREATE INDEX session_by_use ON session (last_used);
