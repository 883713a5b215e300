"""The user's own project: its file, its code, and what may be named of it. Reads sources, runs none of them.

project     thalweg.yaml of the current folder, and which names a `_target_` may have
imports     what the project declares can be imported from its folder
outline     what a source says of a class or function, without importing it
code        fingerprints of the sources that a trial is made by
yaml        YAML read without composing it
values      what YAML means: its nodes as plain values, strictly
template    the project that `thalweg init` writes; its files lie in template/
"""
