"""Writes to its standard output, or error, without end."""

import os
import sys

stream = 2 if sys.argv[1] == "error" else 1
chunk = (b"\n" if sys.argv[1] == "lines" else b"x") * 65_536
while True:
    os.write(stream, chunk)
