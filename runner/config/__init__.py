"""Configuration: words of the command line and YAML files become a Study and Settings. The only door to Hydra.

declare     from what was typed after a verb to the study it declares
compose     Hydra's compose API over our tree and the user's
source      how Hydra is made to read files: strictly, through our reader
words       Hydra's override grammar into plain values
section     the `study:` section of a file
stops       `stop:` of a study, the rule that stops trials early
sweep_file  a sweep file of W&B as a study file
values      values of axes and words, in the type of their key
samples     axes that are drawn from ranges
blocks      what that section and the command line declare together
"""

from thalweg.runner.config.declare import Declaration, Request, as_study_name, declare, groups, info, job

__all__ = ["Declaration", "Request", "as_study_name", "declare", "groups", "info", "job"]
