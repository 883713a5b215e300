"""What thalweg stands on here: the machine and the environment. Asks, changes nothing; imports no torch on its way in.

device          GPUs, cores, memory, file systems, as the operating system tells of them
requirements    what must be installed, and what of it is missing, too old or too new
doctor          all of it tried for real, as a list of checks
"""
