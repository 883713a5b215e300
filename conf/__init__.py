"""The configuration tree, packaged so that an installed thalweg carries it. Holds YAML only, no code."""
