"""Leaves a process behind: in a session of its own, its parent gone, deaf to every signal."""

import os
import signal
import sys
import time

for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
if sys.argv[1] == "stays":
    print("deaf", flush=True)
    time.sleep(60)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
print("gone", flush=True)
