"""A study as its readers see it: computed once, and laid out by terminal, report and JSON. Pure; draws nothing.

study_view  panels, answers, bests, moves and notes of a study
experiment  on what data, what was trained and how long, in one line
notes       what is to be known before an answer is believed, in sentences
costs       what the axes of a grid of three and more cost, in sentences
hindsight   how often a stopping rule would have been wrong
judging     the metric that a reader asks for in place of the study's own
"""

from thalweg.runner.view.judging import judged
from thalweg.runner.view.study_view import Best, StudyView, view_of

__all__ = ["Best", "StudyView", "judged", "view_of"]
