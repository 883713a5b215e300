"""What was chosen and measured, as plain records that travel between the rooms. No torch, no SQL.

choice          how the trials of a group are trained
coordinates     where a trial lies along the axes of its study
observation     what training a trial yields
record          what the store holds of a trial, a cohort, a study's progress
remark          what is said of a model before it trains
tidy            rows and series as tables for a notebook
row             one line of the tidy table that every reader is given
"""
