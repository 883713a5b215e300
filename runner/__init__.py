"""From a study's words to its answer, in rooms. None imports one that stands above it, nor its neighbours on a floor.

    cli         verbs: words into calls of the page, and what comes back into lines

    page        the whole idea: declare, plan, sweep, read. Open this one first

    report      results as one HTML page
    terminal    results as text
    replay      recorded trials, trained again to see whether they come out

    view        a study as its readers see it: panels, answers, bests, moves, notes

    train       makes the store agree with a plan: sweep, workers
    analysis    what results say: slopes, thresholds, intervals
    decide      which cell to take, which trials to add

    config      YAML and the command line as a study; the door to Hydra
    planning    what is wanted, done and missing
    store       trials and observations; the door to SQLite
    engine      trials of a cohort trained together; torch
    cells       trials folded over their seeds
    tracker     W&B runs from stored trials; the door to wandb

    project     the user's project: its file and code
    facts       records that travel: choices, observations, rows

    study       what should exist: trials, studies, keys
    machine     what is here to run on: devices, packages

    show        how numbers, colours and users' texts look

    base        errors, ids, signals

`docs/architecture.md` draws them.
"""
