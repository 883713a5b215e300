"""Recorded trials, trained again to see whether they come out as they are stored. Nothing of it is committed.

again       trains them, and says of each whether it came out again
recorded    how a stored trial was trained, and what of that differs here. Pure
compare     what was observed then and now: the first step and quantity that differ. Pure
model       a trial's weights, trained again, verified and written
predict     what a trial's model says of examples that nobody has seen
audit       a random sample of a study, and what it bounds
"""
