"""The configuration tree, packaged so that an installed thalweg carries it. Holds YAML, and says where it lies."""

from pathlib import Path

CONF = Path(__file__).resolve().parent
