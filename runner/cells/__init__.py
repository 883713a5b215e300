"""Trials folded over their seeds: what a cell of a grid scores. Pure.

cells       cells, panels and the near-optimal set
apart       what rows differ in beside their axes
costs       what a wrong value of one axis costs, all other axes chosen anew
health      how a cell ended, and which can be chosen
nearness    how much a row counts, by how far its best lies above the best of all
noise       the noise between replicates, and intervals
student     quantiles of Student's t
"""
