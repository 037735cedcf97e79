"""A clock that is wrong: for processes that have this directory on PYTHONPATH, CLOCK_OFFSET is added to their time.

Python imports a module of this name at its start, before anything of ours.
"""

import os
import time

if offset := float(os.environ.get("CLOCK_OFFSET", 0)):
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + offset
    time.time_ns = lambda: right_ns() + int(offset * 1e9)
