"""Makes a million empty files, and says how many it could."""

import os

count = 0
os.mkdir("many")
try:
    for count in range(1_000_000):
        os.close(os.open(f"many/{count}", os.O_CREAT))
except OSError:
    pass
print(count, flush=True)
