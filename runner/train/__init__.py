"""Makes the store agree with a plan: cohorts are cut, given to worker processes, and committed when they come back.

schedule        decides, and does nothing: told what happened, it answers with orders
rungs           how far trials train that may stop early
terms           what its pieces of work have in common, and how far it is
orders          what it orders
described       events and orders, for the log
driver          carries the orders out: asks the store, commits
vigil           beats, and who of the drivers on one store is dead
crew            the slots: how many workers, on which devices
cluster         the same on the nodes of a Ray cluster
slurm           shares of a study as jobs: submitted, and asked about later
probe           a child process that times what a plan would train
silence         how long slots that have work have said nothing
pool            the worker processes, as the driver sees them
messages        what driver and workers say to each other
worker          a worker process; it alone imports the engine
pausing         what a worker does at a rung
rehearsal       a child process that builds a plan's models once and says what is wrong with them
cutting         a group of trials cut into cohorts
checkpoints     cohorts in the middle of training, as files
so_far          what they say of trials that still train: losses
weights         final weights of trials, as files
kept            whose files of weights stay in the folder beside the store
keeper          a sweep's side of it: where they go, how large, which did not arrive
given           whether the user's functions give the data that they gave before
lasting         states from which longer trials go on, as files
remeasured      finished trials that kept weights can measure, without training
onward          which trials go on from such a state, and why others do not
"""
