"""What everything stands on: imported by every room, importing none. Standard library only.

errors      every error a user can meet
canonical   canonical JSON and tagged hashes, of which ids are made
regular     how a file that a user names is opened: regular files only
whole       how a file is written: in full or not at all
signals     Ctrl-C, SIGTERM and a closed terminal held back until it is safe to leave
child       how every process that runs a user's code is started, and that it leaves with its parent
log         what a sweep does, as JSON lines
stacks      where every process is, on a signal
version     the version that is recorded with what trains
"""
