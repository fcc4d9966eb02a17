"""Asks the kernel for what a job never needs, each time a known way out."""

import ctypes
import os
import socket

from tests.miner.sandbox.hostile.attack import attempt, attempt_call, call

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x2_0000, 0x1000_0000, 0x4000_0000
SIGCHLD = 17


def leave_by_handle() -> int:
    """Open the root of the file system below `/usr` by its number, past all mounts."""
    handle = ctypes.create_string_buffer(b"\x08\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0", 128)
    place = os.open("/usr", os.O_RDONLY)
    return call("open_by_handle_at", place, handle, os.O_RDONLY)


def main() -> None:
    attempt_call("mount", b"none", b"/work", b"tmpfs", 0, None)
    attempt_call("mount", b"/usr", b"/work", None, 0x1000, None)
    attempt_call("mount", None, b"/usr", None, 0x20 | 0x1000, None)
    attempt_call("umount2", b"/usr", 2)
    attempt_call("pivot_root", b"/work", b"/work")
    attempt_call("chroot", b"/work")
    attempt_call("fsopen", b"tmpfs", 0)
    attempt_call("open_tree", -100, b"/usr", 1)
    attempt_call("unshare", CLONE_NEWUSER)
    attempt_call("unshare", CLONE_NEWNS)
    attempt_call("clone", CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)
    attempt_call("clone", CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0)
    attempt_call("clone3", ctypes.create_string_buffer(64), 64)
    for kind in ("user", "mnt", "net", "pid"):
        descriptor = os.open(f"/proc/self/ns/{kind}", os.O_RDONLY)
        attempt_call("setns", descriptor, 0)
    handle = ctypes.create_string_buffer(b"\x80\0\0\0", 128)
    attempt_call("name_to_handle_at", -100, b"/usr", handle, ctypes.byref(ctypes.c_int()), 0)
    attempt("open_by_handle_at", leave_by_handle)
    attempt_call("add_key", b"user", b"name", b"data", 4, -3)
    attempt_call("keyctl", 0, -3, 1)
    attempt_call("io_uring_setup", 8, ctypes.create_string_buffer(120))
    attempt_call("bpf", 0, ctypes.create_string_buffer(128), 128)
    attempt_call("perf_event_open", ctypes.create_string_buffer(128), 0, -1, -1, 0)
    attempt_call("userfaultfd", 1)
    attempt_call("kexec_load", 0, 0, 0, 0)
    attempt_call("finit_module", 0, b"", 0)
    attempt_call("swapon", b"none", 0)
    attempt_call("reboot", 0xFEE1DEAD - 2**32, 672274793, 0x89ABCDEF - 2**32, 0)
    attempt_call("newest")
    attempt("clock", call, "clock_settime", 0, ctypes.create_string_buffer(16))
    attempt("time of day", call, "settimeofday", ctypes.create_string_buffer(16), None)
    ticks = ctypes.create_string_buffer(b"\1\0\0\0", 256)
    attempt("clock's rate", call, "adjtimex", ticks)
    attempt("host's name", socket.sethostname, "escaped")
    for path in (
        "/dev/mem",
        "/dev/kmem",
        "/dev/kmsg",
        "/dev/vda",
        "/dev/sda",
        "/dev/fuse",
        "/dev/kvm",
    ):
        attempt(path, os.open, path, os.O_RDONLY)
    attempt_call("mknodat", -100, b"disk", 0o60666, 0xFE00)
    attempt_call("mknodat", -100, b"memory", 0o20666, 0x0101)


main()
