"""The engine: trains the trials of a cohort together along a tensor axis. Knows neither store nor tracker.

    streams    random numbers as a function of (seed, stream, index)
    state      the tensors of K trials: weights, slots, buffers, who is alive
    examples   a split's rows by number, made ready on the device
    task       the loss of a kind of target, and what is measured of it
    workload   what one structure trains: model template, rule, data on the device
    step       one training step, whatever executes it
    executors  loop (one trial after another) and vmap (all at once)
    evaluate   what the task measures on the three splits
    cohort     a cohort from its trials to their observations
    choose     which executor and batch layout a group of trials gets

Shape legend, everywhere: K trials (always first), P parameters of a trial, T steps, B examples of a batch,
N rows of a split, D features, C classes.
"""
