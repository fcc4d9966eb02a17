"""Forks until nothing more is to be had, and says how often it did."""

import os
import time

count = 0
while count < 5_000:
    try:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    except OSError:
        break
    count += 1
print(count, flush=True)
os._exit(0)
