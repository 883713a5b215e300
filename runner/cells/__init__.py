"""Trials folded over their seeds: what a cell of a grid scores. Pure.

cells       cells, panels and the near-optimal set
student     quantiles of Student's t
"""
