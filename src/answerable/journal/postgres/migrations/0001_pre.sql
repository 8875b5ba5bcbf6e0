-- The journal's truth, and what follows from it. See spec/journal.md: the same tables as in SQLite, with the same
-- meaning. Times are microseconds of UTC as the entries have them, but for `worker` and for `taken` of a notice, which go
-- by the server's clock.
--
-- Names sort as bytes ("C"): so does Python, and rows are locked in that order by everybody.
-- A table whose rows change in place leaves room in its pages, so that a change needs no new index row.

-- `entry` is appended to and never updated or deleted. A tree over it (RFC 9162) will get a table of its own for its
-- leaves, by (stream, seq): nothing here has to be rewritten for that.
CREATE TABLE answerable.entry (
    stream text COLLATE "C" NOT NULL, seq bigint NOT NULL, time bigint NOT NULL,
    prev text COLLATE "C" NOT NULL, hash text COLLATE "C" NOT NULL, body text NOT NULL,
    PRIMARY KEY (stream, seq)
);

-- Content, up to the size that `journal/postgres/rows.py` states. What is erased keeps its row.
CREATE TABLE answerable.payload (
    ref text COLLATE "C" PRIMARY KEY, subject text COLLATE "C" NOT NULL, retention text COLLATE "C" NOT NULL,
    created bigint NOT NULL, size bigint NOT NULL, body bytea, erased bigint
);
CREATE INDEX payload_kept ON answerable.payload (retention, created) WHERE erased IS NULL;

-- `label` is what the company calls the person; it goes with the key when the person is erased.
CREATE TABLE answerable.subject (
    ref text COLLATE "C" PRIMARY KEY, key bytea, label text COLLATE "C" UNIQUE
);

-- From here on everything but `notice`, `worker`, `throttle`, `setting` and `migration` is derived and can be rebuilt.
CREATE TABLE answerable.head (
    stream text COLLATE "C" PRIMARY KEY, seq bigint NOT NULL, hash text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL, time bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE answerable.run (
    run text COLLATE "C" PRIMARY KEY, agent text COLLATE "C" NOT NULL, tenant text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL, state text COLLATE "C" NOT NULL, outcome text COLLATE "C",
    code text COLLATE "C", created bigint NOT NULL, started bigint, ended bigint, steps bigint NOT NULL,
    cost bigint NOT NULL, is_cost_known boolean NOT NULL, owner text COLLATE "C", epoch bigint NOT NULL,
    waiting_for text COLLATE "C", request text COLLATE "C", wake_at bigint, subject text COLLATE "C" NOT NULL,
    scripted boolean NOT NULL
) WITH (fillfactor = 70);
-- The open runs are few among the many that have ended: they are listed from here alone.
CREATE INDEX run_open ON answerable.run (created, run) WHERE state <> 'ended';
CREATE INDEX run_created ON answerable.run (created, run);
CREATE INDEX run_subject ON answerable.run (subject);

-- One row for a budget that one process uses (`holder` is empty). A budget that processes share has a row of its own
-- for each of them, which holds what it was granted; the row without a holder is then the parent, which grants.
CREATE TABLE answerable.budget (
    id text COLLATE "C" NOT NULL, holder text COLLATE "C" NOT NULL, unit text COLLATE "C" NOT NULL,
    granted bigint NOT NULL, reserved bigint NOT NULL, spent bigint NOT NULL, cap bigint NOT NULL,
    PRIMARY KEY (id, holder, unit)
) WITH (fillfactor = 50);

CREATE TABLE answerable.claim (
    key text COLLATE "C" PRIMARY KEY, rule text COLLATE "C" NOT NULL, state text COLLATE "C" NOT NULL,
    run text COLLATE "C" NOT NULL, effect text COLLATE "C" NOT NULL, amount bigint NOT NULL,
    count bigint NOT NULL, cap bigint NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE answerable.total (
    key text COLLATE "C" PRIMARY KEY, amount bigint NOT NULL, count bigint NOT NULL
) WITH (fillfactor = 50);

-- What an effect holds, until nothing depends on it any more. `totals` is a list of [key, amount].
CREATE TABLE answerable.effect (
    effect text COLLATE "C" PRIMARY KEY, run text COLLATE "C" NOT NULL, path text COLLATE "C" NOT NULL,
    tool text COLLATE "C" NOT NULL, state text COLLATE "C" NOT NULL, claim text COLLATE "C",
    rule text COLLATE "C", amount bigint NOT NULL, totals text COLLATE "C" NOT NULL, undoes text COLLATE "C"
) WITH (fillfactor = 80);
CREATE INDEX effect_open ON answerable.effect (run) WHERE state IN ('started', 'unknown');

CREATE TABLE answerable.halt (
    scope text COLLATE "C" PRIMARY KEY, epoch bigint NOT NULL, is_active boolean NOT NULL,
    by text COLLATE "C" NOT NULL, reason text COLLATE "C" NOT NULL, since bigint NOT NULL
);

-- Not derived: whether somebody has been told is known only here. At least once is the promise. Until `taken` one
-- process is telling it, and the others leave it alone.
CREATE TABLE answerable.notice (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL, created bigint NOT NULL, attempts bigint NOT NULL DEFAULT 0,
    delivered bigint, taken timestamptz
);
CREATE INDEX notice_open ON answerable.notice (id) WHERE delivered IS NULL;

-- The processes that own runs, each with its last sign of life.
CREATE TABLE answerable.worker (
    owner text COLLATE "C" PRIMARY KEY, host text NOT NULL, pid bigint NOT NULL, version text NOT NULL,
    started timestamptz NOT NULL, heartbeat timestamptz NOT NULL, releases text[] NOT NULL
) WITH (fillfactor = 50);
-- Which runs are being driven, and by whom: asked twice a second for those whose owner died.
CREATE INDEX run_owner ON answerable.run (owner) WHERE state = 'running';

-- Not derived: what is left of each tool's limits, for all processes. Reads have no entry of their own to count. Without
-- it every limit begins anew; no proof depends on it.
CREATE TABLE answerable.throttle (key text COLLATE "C" PRIMARY KEY, state text NOT NULL) WITH (fillfactor = 50);

CREATE TABLE answerable.setting (name text COLLATE "C" PRIMARY KEY, value text NOT NULL);
