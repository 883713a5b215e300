"""What should exist, declared: trials, studies, and the numbers they are written in. No torch, no store, no Hydra.

trial           the resolved configuration of a set of weights, and its id
study           a set of trials: blocks of axes
stop            a rule that stops trials early, and whom it stops
settings        how trials are run, as opposed to what they are
keys            every configuration key, its type and range; the check of a configuration
groups          `groups.NAME.…` in plain configurations
unsaid          what a stored configuration leaves unsaid, since its version did not know it
target          a `_target_`: a class or function of the user's, and its arguments
start           the weights that a trial starts from
longer          up to which step a trial is what a longer one would be
arithmetic      repairs after which some configurations give other numbers, and are other trials
fingerprint     the user's files as part of what a trial is
ranges          `1/256..8:x2`: exact points, rounded once
sampling        points drawn from ranges, at random or evenly, the same everywhere
derive          keys computed from axes
condition       `val/loss < 0.45 and optimizer.lr > 1e-3`: true or false of a trial or a cell
durations       epochs and shares of a run as steps
"""
