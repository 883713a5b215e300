"""How numbers, colours and users' texts look wherever they are shown, in a terminal or on a page. Pure.

numbers     numbers as people read them
ramp        colours from worst to best
inert       users' texts that can neither colour nor move what stands beside them
"""
