"""What was chosen and measured, as plain records that travel between the rooms. No torch, no SQL.

choice          how the trials of a group are trained
chosen          trials chosen by a condition in the user's words
coordinates     where a trial lies along the axes of its study
differing       what differs between two trials, or two studies
epochs          axes that were given in epochs, as they are read
observation     what training a trial yields
parting         where series of two trials part
record          what the store holds of a trial, a cohort, a study's progress
remark          what is said of a model before it trains
replayed        what training a trial again said of it
tidy            rows and series as tables for a notebook
weights         a trial's weights as arrays, and their hash
row             one line of the tidy table that every reader is given
"""
