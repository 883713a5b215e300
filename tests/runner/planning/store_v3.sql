PRAGMA application_id = 1952997740;
PRAGMA user_version = 3;
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
INSERT INTO "choices" VALUES('d01ae6023e2b38465d471a20c2d8b0e41b4ec963d71bdae7c457404a68054346','cpu x86_64 torch 2.15.0+cu132','traced','per_lane',64,'about 0.0 s of work: nothing was timed','0.1.0','2026-11-26T15:36:29Z');
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
INSERT INTO "cohort_trials" VALUES(1,1,2,'finished');
INSERT INTO "cohort_trials" VALUES(1,2,3,'finished');
INSERT INTO "cohort_trials" VALUES(1,3,4,'finished');
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
        , peak_bytes INTEGER) STRICT
        ;
INSERT INTO "cohorts" VALUES(1,1,'d01ae6023e2b38465d471a20c2d8b0e41b4ec963d71bdae7c457404a68054346','traced','per_lane',4,'cpu',NULL,'{"thalweg":"0.1.0","torch":"2.15.0+cu132","numpy":"2.4.6","python":"3.11.7"}','2026-11-26T15:36:29Z','2026-11-26T15:36:29Z',710696960);
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
INSERT INTO "members" VALUES(1,1,'grid','{"optimizer.lr":0.1,"seed":0}',0,0,1);
INSERT INTO "members" VALUES(1,2,'grid','{"optimizer.lr":0.1,"seed":1}',1,0,1);
INSERT INTO "members" VALUES(1,3,'grid','{"optimizer.lr":0.2,"seed":0}',2,0,1);
INSERT INTO "members" VALUES(1,4,'grid','{"optimizer.lr":0.2,"seed":1}',3,0,1);
CREATE TABLE metrics (
            trial INTEGER NOT NULL REFERENCES trials (seq),
            name  TEXT NOT NULL,
            value REAL NOT NULL CHECK (abs(value) <= 1.7976931348623157e308),
            PRIMARY KEY (trial, name)
        ) STRICT, WITHOUT ROWID
        ;
INSERT INTO "metrics" VALUES(1,'test/accuracy',1.43576826196473550378e-01);
INSERT INTO "metrics" VALUES(1,'test/calibration_error',2.07161510189624503697e-01);
INSERT INTO "metrics" VALUES(1,'test/loss',2.56671541952938575548e+00);
INSERT INTO "metrics" VALUES(1,'train/accuracy',0.125);
INSERT INTO "metrics" VALUES(1,'train/calibration_error',1.88180625904351472854e-01);
INSERT INTO "metrics" VALUES(1,'train/loss',2.52238287893123924732e+00);
INSERT INTO "metrics" VALUES(1,'val/accuracy',0.15);
INSERT INTO "metrics" VALUES(1,'val/calibration_error',2.45260798633098603405e-01);
INSERT INTO "metrics" VALUES(1,'val/loss',2.54415511978557340455e+00);
INSERT INTO "metrics" VALUES(2,'test/accuracy',2.29219143576826184238e-01);
INSERT INTO "metrics" VALUES(2,'test/calibration_error',1.01670113052018645793e-01);
INSERT INTO "metrics" VALUES(2,'test/loss',2.21450604419564101021e+00);
INSERT INTO "metrics" VALUES(2,'train/accuracy',0.203125);
INSERT INTO "metrics" VALUES(2,'train/calibration_error',1.28110254881903529167e-01);
INSERT INTO "metrics" VALUES(2,'train/loss',2.14724407345056533813e+00);
INSERT INTO "metrics" VALUES(2,'val/accuracy',0.185);
INSERT INTO "metrics" VALUES(2,'val/calibration_error',1.36081494353711612843e-01);
INSERT INTO "metrics" VALUES(2,'val/loss',2.40247631087899193857e+00);
INSERT INTO "metrics" VALUES(3,'test/accuracy',1.4861460957178840303e-01);
INSERT INTO "metrics" VALUES(3,'test/calibration_error',2.13071640533974537845e-01);
INSERT INTO "metrics" VALUES(3,'test/loss',2.42533488975842503876e+00);
INSERT INTO "metrics" VALUES(3,'train/accuracy',0.21875);
INSERT INTO "metrics" VALUES(3,'train/calibration_error',1.83967093355022370815e-01);
INSERT INTO "metrics" VALUES(3,'train/loss',2.37477572420903);
INSERT INTO "metrics" VALUES(3,'val/accuracy',0.2075);
INSERT INTO "metrics" VALUES(3,'val/calibration_error',1.9997626485303043875e-01);
INSERT INTO "metrics" VALUES(3,'val/loss',2.33157956023002);
INSERT INTO "metrics" VALUES(4,'test/accuracy',2.77078085642317395453e-01);
INSERT INTO "metrics" VALUES(4,'test/calibration_error',1.3136483135841955927e-01);
INSERT INTO "metrics" VALUES(4,'test/loss',2.05385514268046343033e+00);
INSERT INTO "metrics" VALUES(4,'train/accuracy',0.265625);
INSERT INTO "metrics" VALUES(4,'train/calibration_error',1.35005078394897282123e-01);
INSERT INTO "metrics" VALUES(4,'train/loss',1.9428887958638370037e+00);
INSERT INTO "metrics" VALUES(4,'val/accuracy',0.22);
INSERT INTO "metrics" VALUES(4,'val/calibration_error',1.17356112841516729838e-01);
INSERT INTO "metrics" VALUES(4,'val/loss',2.22543084539473046135e+00);
CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, applied TEXT NOT NULL) STRICT;
INSERT INTO "migrations" VALUES(1,'foundation','2026-11-26T15:36:27Z');
INSERT INTO "migrations" VALUES(2,'peak memory','2026-11-26T15:36:27Z');
INSERT INTO "migrations" VALUES(3,'refinements','2026-11-26T15:36:27Z');
CREATE TABLE refinements (
            study    INTEGER NOT NULL REFERENCES studies (id),
            number   INTEGER NOT NULL,              -- 1, 2, ...: how often trials were added after a look at results
            moves    TEXT NOT NULL,                 -- JSON: what was added, and why
            trials   INTEGER NOT NULL,
            declared TEXT NOT NULL,
            PRIMARY KEY (study, number)
        ) STRICT, WITHOUT ROWID
        ;
CREATE TABLE series (
            trial  INTEGER NOT NULL REFERENCES trials (seq),
            name   TEXT NOT NULL,
            dtype  TEXT NOT NULL CHECK (dtype IN ('<f4', '<f8')),
            steps  BLOB NOT NULL,                   -- zlib of little-endian int64 differences, first from 0
            points BLOB NOT NULL,                   -- zlib of little-endian floats of that dtype
            PRIMARY KEY (trial, name)
        ) STRICT
        ;
INSERT INTO "series" VALUES(1,'train/batch_loss','<f4',X'789C6360800046341A0000300003',X'789C3BC99EE9F0C234DEC12447D301001EF2043F');
INSERT INTO "series" VALUES(1,'val/loss','<f8',X'789C63608000461C340000500004',X'789C7B13A8CBF579169F435A5AC9AEDA3B1C0EFD87C40FEE766075585270FB7F6E148B0300EDDB0E4D');
INSERT INTO "series" VALUES(1,'val/accuracy','<f8',X'789C63608000461C340000500004',X'789C3B7B0604F6D82F29B0E5BABEF8807DFFA1AF1A31FD87EC8DC1E0B03D0035021027');
INSERT INTO "series" VALUES(1,'val/calibration_error','<f8',X'789C63608000461C340000500004',X'789C2BB4E5B292AFBB675F68DBB5EE7ED535FB8755531E7D7A7FC15E33A67FD39694F3F600FBE110AE');
INSERT INTO "series" VALUES(2,'train/batch_loss','<f4',X'789C6360800046341A0000300003',X'789CBBD568ECF04D5BD5417CB780030021F50477');
INSERT INTO "series" VALUES(2,'val/loss','<f8',X'789C63608000461C340000500004',X'789CF378F8EBCCEA7F6C0E413BE496EF356075F07868152DB882D961871C6B83AB05B30300FB9C0CB5');
INSERT INTO "series" VALUES(2,'val/accuracy','<f8',X'789C63608000461C340000500004',X'789C2BB4E5BABEB860AFFD9BC01D72ADAF0FDAA781C131FB75EE0FAB44D61DB7070000E20FA3');
INSERT INTO "series" VALUES(2,'val/calibration_error','<f8',X'789C63608000461C340000500004',X'789C012000DFFFCDCCCCC888CDCE3F48E17A2AB94FC93F85EB51D104B4C23F1F85EB4F1E6BC13F3625111F');
INSERT INTO "series" VALUES(3,'train/batch_loss','<f4',X'789C6360800046341A0000300003',X'789C3BC99EE9E013EEED10F748D301001C920451');
INSERT INTO "series" VALUES(3,'val/loss','<f8',X'789C63608000461C340000500004',X'789C7B13A8CBF579169F83C7C367DF9B0DD81C1E56F9D946C7323B88ACB3D4175ECEE40000E7270C56');
INSERT INTO "series" VALUES(3,'val/accuracy','<f8',X'789C63608000461C340000500004',X'789C3B7B0604F6D88BAC737F582572CC1E4CAD3B6EDF7FE8AB464CFF297B0036F611BC');
INSERT INTO "series" VALUES(3,'val/calibration_error','<f8',X'789C63608000461C340000500004',X'789C2BB4E5B292AFBB67AF19C35FED70FC927DA12D97E99BE367EC63FA0FD55D9A71D21E00C94F0E1C');
INSERT INTO "series" VALUES(4,'train/batch_loss','<f4',X'789C6360800046341A0000300003',X'789CBBD568EC502B20EB60B990C301001D6A03DB');
INSERT INTO "series" VALUES(4,'val/loss','<f8',X'789C63608000461C340000500004',X'789C012000DFFF48E1FACCABFE0640E17AD40E69FC034048E1FAB1944102400AD7E3AFAECD014028B010DE');
INSERT INTO "series" VALUES(4,'val/accuracy','<f8',X'789C63608000461C340000500004',X'789C2BB4E5BABEB860AFBD664CFFA1AF1A47EC811CA0C86928FF8C3D00FBAD0FA5');
INSERT INTO "series" VALUES(4,'val/calibration_error','<f8',X'789C63608000461C340000500004',X'789C3B7BE6CC898EB3E7EC63FA0F15307F396ACF757D7116AFC161107D8B877B9F3D002CB21047');
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
INSERT INTO "studies" VALUES(1,'old','','val/loss','min','seed','{"vars":[],"hypothesis":"","analyses":[],"blocks":[{"name":"grid","axes":[{"key":"optimizer.lr","values":[0.1,0.2],"text":"0.1,0.2"},{"key":"seed","values":[0,1],"text":"0,1"}],"group_axes":[],"derive":{},"expect":null}]}','{"question":"","hypothesis":"","metric":"val/loss","direction":"min","replicate":"seed","vars":[],"blocks":[{"name":"grid","choices":[{"launcher":"local","tracker":"none","engine":"auto","clip":"none","sam":"none","schedule":"warmup_cosine","optimizer":"sgd","dataset":"digits","model":"mlp"}],"group_axes":[],"axes":[{"key":"optimizer.lr","text":"0.1,0.2","values":[0.1,0.2]},{"key":"seed","text":"0,1","values":[0,1]}],"derive":{},"expect":null}],"analysis":null,"overrides":["optimizer=sgd","optimizer.lr=0.1,0.2","seed=0,1","model=mlp","model.hidden=[4]","dataset=digits","dataset.train_size=64","budget.steps=3","schedule.warmup=0","study.name=old","tracker=none"]}',1,1,'2026-11-26T15:36:27Z');
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
INSERT INTO "trials" VALUES(1,'01549556c14d6726f245327c8a92dadd7bb35106dcf363f215e8db8f8f7080f1','d01ae6023e2b38465d471a20c2d8b0e41b4ec963d71bdae7c457404a68054346','{"budget":{"batch_size":32,"steps":3},"clip":{"name":"none"},"dataset":{"augment":[],"label_noise":0.0,"name":"digits","split_seed":0,"train_size":64},"divergence":{"loss_factor":10000.0},"model":{"dropout":0.0,"hidden":[4],"init_gain":1.0,"name":"mlp","norm":"none"},"optimizer":{"dampening":0.0,"decay":"l2","decay_on":"all","decay_order":"before","lr":0.1,"momentum":0.9,"name":"sgd","nesterov":false,"weight_decay":0.0005},"precision":"float32","revision":null,"sam":{"name":"none"},"schedule":{"floor":0.0,"name":"warmup_cosine","offset":1,"start":0.0,"warmup":0},"seed":0,"task":{"label_smoothing":0.0,"loss":"auto"}}','finished',NULL,'995aa5089bf86db044bf3cd8f97959fa55a3ff008d660d438f37b6f79afdad19',NULL,1.08501469999282562639e-02,1,'0.1.0','2026-11-26T15:36:27Z','2026-11-26T15:36:29Z');
INSERT INTO "trials" VALUES(2,'b008df7dee4041cfa12bf7333ee3b91b0187b4ca08e29219549d21682129fc39','d01ae6023e2b38465d471a20c2d8b0e41b4ec963d71bdae7c457404a68054346','{"budget":{"batch_size":32,"steps":3},"clip":{"name":"none"},"dataset":{"augment":[],"label_noise":0.0,"name":"digits","split_seed":0,"train_size":64},"divergence":{"loss_factor":10000.0},"model":{"dropout":0.0,"hidden":[4],"init_gain":1.0,"name":"mlp","norm":"none"},"optimizer":{"dampening":0.0,"decay":"l2","decay_on":"all","decay_order":"before","lr":0.1,"momentum":0.9,"name":"sgd","nesterov":false,"weight_decay":0.0005},"precision":"float32","revision":null,"sam":{"name":"none"},"schedule":{"floor":0.0,"name":"warmup_cosine","offset":1,"start":0.0,"warmup":0},"seed":1,"task":{"label_smoothing":0.0,"loss":"auto"}}','finished',NULL,'10106ccda8ce54947e53c64d6525d21d3bd2025648b72e9a35c97f3ff70bb111',NULL,1.08501469999282562639e-02,1,'0.1.0','2026-11-26T15:36:27Z','2026-11-26T15:36:29Z');
INSERT INTO "trials" VALUES(3,'a762c23a59c09414e7badd1113f57c7de5543cd29c795020a2d3918263b4e943','d01ae6023e2b38465d471a20c2d8b0e41b4ec963d71bdae7c457404a68054346','{"budget":{"batch_size":32,"steps":3},"clip":{"name":"none"},"dataset":{"augment":[],"label_noise":0.0,"name":"digits","split_seed":0,"train_size":64},"divergence":{"loss_factor":10000.0},"model":{"dropout":0.0,"hidden":[4],"init_gain":1.0,"name":"mlp","norm":"none"},"optimizer":{"dampening":0.0,"decay":"l2","decay_on":"all","decay_order":"before","lr":0.2,"momentum":0.9,"name":"sgd","nesterov":false,"weight_decay":0.0005},"precision":"float32","revision":null,"sam":{"name":"none"},"schedule":{"floor":0.0,"name":"warmup_cosine","offset":1,"start":0.0,"warmup":0},"seed":0,"task":{"label_smoothing":0.0,"loss":"auto"}}','finished',NULL,'ba1e0cc8541d159f7766449dcd2c3b6e47a5fe564722cbff26a179cc03a7e4d0',NULL,1.08501469999282562639e-02,1,'0.1.0','2026-11-26T15:36:27Z','2026-11-26T15:36:29Z');
INSERT INTO "trials" VALUES(4,'02ad0b03f969bf3f11416fb6d2f7820ce04f3270336911af9feb29ea079f284d','d01ae6023e2b38465d471a20c2d8b0e41b4ec963d71bdae7c457404a68054346','{"budget":{"batch_size":32,"steps":3},"clip":{"name":"none"},"dataset":{"augment":[],"label_noise":0.0,"name":"digits","split_seed":0,"train_size":64},"divergence":{"loss_factor":10000.0},"model":{"dropout":0.0,"hidden":[4],"init_gain":1.0,"name":"mlp","norm":"none"},"optimizer":{"dampening":0.0,"decay":"l2","decay_on":"all","decay_order":"before","lr":0.2,"momentum":0.9,"name":"sgd","nesterov":false,"weight_decay":0.0005},"precision":"float32","revision":null,"sam":{"name":"none"},"schedule":{"floor":0.0,"name":"warmup_cosine","offset":1,"start":0.0,"warmup":0},"seed":1,"task":{"label_smoothing":0.0,"loss":"auto"}}','finished',NULL,'d1c16c271a542808487356e05c36161987914af720a5f8b611052344a59c1ee7',NULL,1.08501469999282562639e-02,1,'0.1.0','2026-11-26T15:36:27Z','2026-11-26T15:36:29Z');
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