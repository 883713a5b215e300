"""What was chosen and measured, as plain records that travel between the rooms. No torch, no SQL.

choice          how the trials of a group are trained
observation     what training a trial yields
row             one line of the tidy table that every reader is given
"""
