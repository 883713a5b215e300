"""The engine: trains the trials of a cohort together along a tensor axis. Knows neither store nor tracker.

    determinism  this process trains the same bits every time
    streams      random numbers as a function of (seed, stream, index)
    scale        what each trial's loss is multiplied by on its way back
    state        the tensors of K trials: weights, slots, buffers, who is alive
    parameters   a flat row of weights as named parameters
    examples     a split as rows of examples on the device
    task         the loss that is minimised and what is measured
    guess        what one answer to every example scores
    user         what a `_target_` names, found and looked at; the one place that imports a user's code
    own          the user's model, data, loss and metrics, built
    assembly     a model from its target: the parts among its arguments first
    fitting      which arguments of a model are filled in from the data, and what is wrong with their names
    calling      how a model is called with one input or several, and its own loss
    outputs      what a model returns that is no tensor, and the part of it that is trained
    rehearsal    a model built once before anything trains, to say what is wrong with it
    copying      a module copied, or converted to a precision
    digest       what an object holds, to see whether it was changed
    generators   random numbers that a model may draw unasked
    world        what a user's classes and modules hold, for each trial apart
    lone         a trial's own module
    watch        sees what of torch a piece of code calls
    catching     what of torch's errors a function stops
    told         numbers that a user's model tells of a step
    habits       what a model was seen to do besides computing
    deviation    how far tensors are from what they should be
    passes       passes of a user's module by plain autograd
    firsts       what a process finds out at its first step
    examine      a user's model's first steps, beside plain torch
    recipe       what a step does with a gradient: SAM, clipping, the decay's mask, the rule
    accumulate   a step's gradient from its batch in parts
    workload     what one structure trains: model template, recipe, data on the device
    prepare      a workload from a configuration, looked at before anything trains
    inputs       what the steps are fed: batches, coefficients, seeds
    stacked      forms for all trials of layers of which vmap makes too much
    lanes        how vmap holds one tensor a trial, seen from within
    forms        forms of torch's functions over trials, where vmap has none
    recurrent    recurrent layers over trials, step by step
    gradient     of one trial by autograd, of K by vmap
    recording    a function of tensors as the flat list of operations that it did
    step         one training step, whatever executes it
    compiling    functions compiled; update and guard as one kernel
    tabled       steps that find their inputs by themselves, as a graph's must
    programs     steps recorded, compiled, captured
    executors    loop, vmap, traced, compiled, graphed, graphed_compiled: the ways to execute that step
    seating      how many lanes a program has for the trials that still train
    timing       how long work takes
    estimate     what trials would take, by a few of their steps
    jury         whether a fused cohort's first steps are no slower than the loop's
    evaluate     what a task measures on the three splits
    record       what is collected while a cohort trains
    naming       how a module's state_dict names a trial's weights
    loaded       a trial's module with its final weights
    export       weights as torch's own kind of file
    beginning    initial weights from another trial or a file
    lasting      a trial's state for a longer one, and several as a cohort's checkpoint
    checkpoint   a cohort in the middle of its training, as arrays and facts
    cohort       a cohort from its trials to their observations
    memory       how many lanes fit
    likeness     whether fused trials train as each would alone
    probing      trials of a group as an executor trains them, timed
    hindrance    why vmap or a CUDA graph cannot take a model, and what could be
    choose       which executor, batch layout and width a group of trials gets

Shape legend, everywhere: K trials (always first), P parameters of a trial, T steps, B examples of a batch,
N rows of a split, D features, C classes.
"""
