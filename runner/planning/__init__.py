"""What a study wants against what the store has. Pure: no torch, no SQL, no configuration language.

compare     a study against a store: the plan
plan        wanted, done, and what is left to train
asking      points that depend on results, asked of optuna
revision    trials whose code has changed since, and what stands in for them
starts      trials that start from another's weights, named whole
shard       one of several shares of a study
stopping    who of a study stops early by its rule, and what that leaves to train
advice      what is worth knowing before anything trains
"""
