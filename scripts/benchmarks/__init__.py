"""What scripts/bench runs: the sides it compares, and how each is measured.

measure    seconds of whole process trees, rounds in turn (ABBA), medians
workloads  what is trained, in the words of the command line
files      a workload's data, batches and first weights, for sides that know nothing of thalweg
plain/     a user's script as written today
ray_tune   the same training function under Ray Tune
solo       a tuned loop, the best that a script does
through    a sweep through thalweg's own Python, with the moment at which training began
steps      time per trial-step of each executor, and of the optimizer alone
sides      what is compared, each as a function that trains a grid
parts      the comparisons, one function each
table      what was measured, as Markdown
"""
