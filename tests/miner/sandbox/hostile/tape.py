"""Writes the archive of its results itself, in place of the shell that would: with `../` names."""

import contextlib
import io
import os
import sys
import tarfile


def build(name: str, kind: bytes, target: str = "", data: bytes = b"escaped") -> bytes:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    member.size = len(data) if kind == tarfile.REGTYPE else 0
    padding = b"\0" * (-member.size % 512)
    return member.tobuf(tarfile.USTAR_FORMAT) + data[: member.size] + padding


tape = io.BytesIO()
if sys.argv[1] == "names":
    for name in ("../escaped", "/tmp/escaped", "a/../../escaped", "./../escaped", "..", "a//b"):
        tape.write(build(name, tarfile.REGTYPE))
    tape.write(build("link", tarfile.SYMTYPE, ".."))
    tape.write(build("link/escaped", tarfile.REGTYPE))
    tape.write(build("device", tarfile.BLKTYPE))
    tape.write(build("good.txt", tarfile.REGTYPE, data=b"good"))
    tape.write(b"\0" * 1024)
else:
    tape.write(build("folder", tarfile.DIRTYPE) * 100_000)
for descriptor in sorted(map(int, os.listdir(f"/proc/{os.getppid()}/fd"))):
    path = f"/proc/{os.getppid()}/fd/{descriptor}"
    if descriptor > 2 and os.readlink(path).startswith("pipe:"):
        # The pipe of a miner of root's is root's, so that this user cannot open it anew.
        with contextlib.suppress(OSError), open(path, "wb", buffering=0) as sink:
            sink.write(tape.getvalue())
os.kill(os.getppid(), 9)
