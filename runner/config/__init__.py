"""Configuration: words of the command line and YAML files become a Study and Settings. The only door to Hydra."""

from runner.config.declare import Declaration, Request, declare, groups, info, job

__all__ = ["Declaration", "Request", "declare", "groups", "info", "job"]
