PRAGMA application_id = 1952997740;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE choices (
            group_id TEXT NOT NULL,
            key      TEXT NOT NULL,                 -- what the choice depends on besides the group
            executor TEXT NOT NULL,
            layout   TEXT NOT NULL CHECK (layout IN ('shared', 'per_lane')),
            width    INTEGER NOT NULL,
            reason   TEXT NOT NULL,
            version  TEXT NOT NULL,
            decided  TEXT NOT NULL,
            PRIMARY KEY (group_id, key)
        ) STRICT, WITHOUT ROWID
        ;
INSERT INTO "choices" VALUES('70dcf10b4ca97a842690d6d083c3673032ec6399d7e28c9e448df32ba1b4f78e','cpu','vmap','shared',32,'fastest probed','0.1.0','2026-01-01T00:00:00Z');
CREATE TABLE cohort_trials (
            cohort  INTEGER NOT NULL REFERENCES cohorts (id),
            lane    INTEGER NOT NULL,
            trial   INTEGER NOT NULL REFERENCES trials (seq),
            outcome TEXT,                           -- what this cohort saw; NULL if it was killed
            PRIMARY KEY (cohort, lane),
            UNIQUE (cohort, trial)
        ) STRICT, WITHOUT ROWID
        ;
INSERT INTO "cohort_trials" VALUES(1,0,1,'finished');
CREATE TABLE cohorts (
            id       INTEGER PRIMARY KEY,
            study    INTEGER NOT NULL REFERENCES studies (id),
            group_id TEXT NOT NULL,
            executor TEXT NOT NULL,
            layout   TEXT NOT NULL CHECK (layout IN ('shared', 'per_lane')),
            width    INTEGER NOT NULL,
            device   TEXT NOT NULL,
            worker   INTEGER,
            versions TEXT NOT NULL,                 -- JSON
            started  TEXT NOT NULL,
            finished TEXT
        ) STRICT
        ;
INSERT INTO "cohorts" VALUES(1,1,'70dcf10b4ca97a842690d6d083c3673032ec6399d7e28c9e448df32ba1b4f78e','vmap','shared',1,'cpu',NULL,'{"torch":"2.15.0"}','2026-01-01T00:00:00Z','2026-01-01T00:00:00Z');
CREATE TABLE members (
            study      INTEGER NOT NULL REFERENCES studies (id),
            trial      INTEGER NOT NULL REFERENCES trials (seq),
            block      TEXT NOT NULL,
            axes       TEXT NOT NULL,               -- JSON, in declared order
            position   INTEGER NOT NULL,            -- in the declaration that brought it
            declared   INTEGER NOT NULL,            -- 1: in the last YAML declaration
            overridden INTEGER NOT NULL,            -- 1: in some declaration from the command line
            PRIMARY KEY (study, trial, block)
        ) STRICT, WITHOUT ROWID
        ;
INSERT INTO "members" VALUES(1,1,'plain','{"optimizer.lr":0.1,"model":"mlp","seed":0}',0,1,0);
CREATE TABLE metrics (
            trial INTEGER NOT NULL REFERENCES trials (seq),
            name  TEXT NOT NULL,
            value REAL NOT NULL CHECK (abs(value) <= 1.7976931348623157e308),
            PRIMARY KEY (trial, name)
        ) STRICT, WITHOUT ROWID
        ;
INSERT INTO "metrics" VALUES(1,'val/loss',0.5);
CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, applied TEXT NOT NULL) STRICT;
INSERT INTO "migrations" VALUES(1,'foundation','2026-01-01T00:00:00Z');
CREATE TABLE series (
            trial  INTEGER NOT NULL REFERENCES trials (seq),
            name   TEXT NOT NULL,
            dtype  TEXT NOT NULL CHECK (dtype IN ('<f4', '<f8')),
            steps  BLOB NOT NULL,                   -- zlib of little-endian int64 differences, first from 0
            points BLOB NOT NULL,                   -- zlib of little-endian floats of that dtype
            PRIMARY KEY (trial, name)
        ) STRICT
        ;
INSERT INTO "series" VALUES(1,'val/loss','<f4',X'789C636080807026080D0002D6005A',X'789C63606070606060B0070001870080');
CREATE TABLE studies (
            id          INTEGER PRIMARY KEY,
            name        TEXT NOT NULL UNIQUE,
            question    TEXT NOT NULL,
            metric      TEXT NOT NULL,
            direction   TEXT NOT NULL CHECK (direction IN ('min', 'max')),
            replicate   TEXT,
            outline     TEXT NOT NULL,              -- JSON: vars, analysis, blocks with axes and expectations
            document    TEXT NOT NULL,              -- JSON: the declaration as the caller wrote it down
            overridden  INTEGER NOT NULL,           -- 1 while only command-line declarations were seen
            declaration INTEGER NOT NULL UNIQUE,    -- order of the last declaration; clocks can be set back
            declared    TEXT NOT NULL
        ) STRICT
        ;
INSERT INTO "studies" VALUES(1,'coupling','Where is the valley?','val/loss','min','seed','{"vars":[],"analysis":{"kind":"coupling","lr":"optimizer.lr","wd":"optimizer.weight_decay"},"blocks":[{"name":"plain","axes":[{"key":"optimizer.lr","values":[0.1],"text":"typed"},{"key":"seed","values":[0],"text":"0..2"}],"group_axes":[{"key":"model","values":["mlp"],"text":"mlp"}],"derive":{"optimizer.weight_decay":"lr_x_wd / optimizer.lr"},"expect":{"slope":-1.0,"tolerance":0.3}}]}','{"typed":"study=coupling"}',0,1,'2026-01-01T00:00:00Z');
CREATE TABLE trials (
            seq           INTEGER PRIMARY KEY,
            id            TEXT NOT NULL UNIQUE CHECK (length(id) = 64 AND id NOT GLOB '*[^0-9a-f]*'),
            group_id      TEXT NOT NULL,
            config        TEXT NOT NULL,            -- canonical JSON
            outcome       TEXT CHECK (outcome IN ('finished', 'diverged', 'pruned', 'failed')),
            diverged_step INTEGER,
            weight_hash   TEXT,
            error         TEXT,
            seconds       REAL,
            cohort        INTEGER REFERENCES cohorts (id),
            version       TEXT,                     -- of thalweg, when trained
            declared      TEXT NOT NULL,
            ended         TEXT,
            CHECK ((outcome IS 'diverged') = (diverged_step IS NOT NULL)),
            CHECK ((outcome IS NULL) = (ended IS NULL))
        ) STRICT
        ;
INSERT INTO "trials" VALUES(1,'0f8cbab0729de550cd686d2a77db567e8c89f629c6d236cd8ca25b2ff0ecbf68','70dcf10b4ca97a842690d6d083c3673032ec6399d7e28c9e448df32ba1b4f78e','{"budget":{"batch_size":32,"steps":600},"dataset":{"label_noise":0.4,"name":"digits","split_seed":0,"train_size":1000},"divergence":{"loss_factor":10000.0},"model":{"hidden":[8],"init_gain":1.0,"name":"mlp"},"optimizer":{"decay":"coupled","decay_order":"before","lr":0.1,"momentum":0.9,"name":"sgd","nesterov":false,"weight_decay":0.0},"precision":"float32","schedule":{"floor":0.0,"name":"warmup_cosine","warmup":30},"seed":0}','finished',NULL,'abababababababababababababababababababababababababababababababab',NULL,0.25,1,'0.1.0','2026-01-01T00:00:00Z','2026-01-01T00:00:00Z');
CREATE INDEX members_by_trial ON members (trial);
CREATE VIEW trial_results AS
        SELECT s.name AS study, m.block AS block, t.id AS trial, t.outcome AS outcome,
            t.diverged_step AS diverged_step, s.metric AS metric, v.value AS value,
            (SELECT json_group_object(o.name, o.value) FROM metrics o WHERE o.trial = t.seq) AS metrics,
            t.weight_hash AS weight_hash, t.seconds AS seconds, m.axes AS axes, t.config AS config,
            NOT (m.declared OR m.overridden) AS outside, t.error AS error, t.ended AS ended
        FROM members m
        JOIN studies s ON s.id = m.study
        JOIN trials t ON t.seq = m.trial
        LEFT JOIN metrics v ON v.trial = t.seq AND v.name = s.metric;
COMMIT;
