"""thalweg, a declarative experiment runner."""

from runner import place

__version__ = "0.1.0"

place.pin()
