"""What a study looks like in a terminal: text, tables, maps, progress. Knows no store, no verbs, no torch.

answer      the answer of a study
verdict     answers in plain text
map         the map of a panel
decision    what to take, what to add
plan        what is wanted, done and missing
listing     studies, trials, options, checks
curve       a trial's curves as pictures of characters
progress    how a sweep goes
removal     what a removal would do
text        text made fit for a terminal
"""
