-- The journal's truth. See spec/journal.md. Its two large tables are appended to in order of writing: rows of a
-- kilobyte in a table without a row id would each take a page of their own.
-- Everything below `subject` is derived and can be rebuilt.
CREATE TABLE entry (
    stream TEXT NOT NULL, seq INTEGER NOT NULL, time INTEGER NOT NULL,
    prev TEXT NOT NULL, hash TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (stream, seq)
);

CREATE TABLE payload (
    ref TEXT PRIMARY KEY, subject TEXT NOT NULL, retention TEXT NOT NULL, created INTEGER NOT NULL,
    size INTEGER NOT NULL, body BLOB, erased INTEGER
);

-- `label` is what the company calls the person; it goes with the key when the person is erased.
CREATE TABLE subject (ref TEXT PRIMARY KEY, key BLOB, label TEXT UNIQUE) WITHOUT ROWID;

CREATE TABLE head (
    stream TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL, epoch INTEGER NOT NULL,
    time INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE run (
    run TEXT PRIMARY KEY, agent TEXT NOT NULL, tenant TEXT NOT NULL, kind TEXT NOT NULL,
    state TEXT NOT NULL, outcome TEXT, code TEXT, created INTEGER NOT NULL, started INTEGER, ended INTEGER,
    steps INTEGER NOT NULL, cost INTEGER NOT NULL, is_cost_known INTEGER NOT NULL, owner TEXT,
    epoch INTEGER NOT NULL, waiting_for TEXT, request TEXT, wake_at INTEGER, subject TEXT NOT NULL,
    scripted INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX run_open ON run (state, created) WHERE state <> 'ended';
CREATE INDEX run_created ON run (created);
CREATE INDEX run_subject ON run (subject);

CREATE TABLE budget (
    id TEXT NOT NULL, unit TEXT NOT NULL, reserved INTEGER NOT NULL, spent INTEGER NOT NULL,
    PRIMARY KEY (id, unit)
) WITHOUT ROWID;

CREATE TABLE claim (
    key TEXT PRIMARY KEY, rule TEXT NOT NULL, state TEXT NOT NULL, run TEXT NOT NULL, effect TEXT NOT NULL,
    amount INTEGER NOT NULL, count INTEGER NOT NULL, cap INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE total (key TEXT PRIMARY KEY, amount INTEGER NOT NULL, count INTEGER NOT NULL) WITHOUT ROWID;

-- What an effect holds, until nothing depends on it any more.
CREATE TABLE effect (
    effect TEXT PRIMARY KEY, run TEXT NOT NULL, path TEXT NOT NULL, tool TEXT NOT NULL, state TEXT NOT NULL,
    claim TEXT, rule TEXT, amount INTEGER NOT NULL, totals TEXT NOT NULL, undoes TEXT
) WITHOUT ROWID;

CREATE TABLE halt (
    scope TEXT PRIMARY KEY, epoch INTEGER NOT NULL, is_active INTEGER NOT NULL, by TEXT NOT NULL,
    reason TEXT NOT NULL, since INTEGER NOT NULL
) WITHOUT ROWID;

-- Not derived: whether somebody has been told is known only here. At least once is the promise. Until `taken` one
-- process is telling it, and the others leave it alone.
CREATE TABLE notice (
    id INTEGER PRIMARY KEY, run TEXT NOT NULL, kind TEXT NOT NULL, created INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, delivered INTEGER, taken INTEGER
);
CREATE INDEX notice_open ON notice (id) WHERE delivered IS NULL;

CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
