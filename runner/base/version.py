"""The version of thalweg, recorded with every cohort that trains. The build reads it here, too."""

__version__ = "0.1.0"
