"""Computes without end in several processes, none of which uses much alone."""

import os
import signal

signal.signal(signal.SIGXCPU, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        break
while True:
    pass
