"""What hostile programs have in common: each says of all that it tries whether it went through."""

import ctypes
import json
import os
import platform
import sys
from collections.abc import Callable
from typing import Any, Final

LIBC: Final = ctypes.CDLL(None, use_errno=True)
IS_ARM: Final = platform.machine() == "aarch64"
NUMBERS: Final = {
    # On x86_64, on aarch64.
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "finit_module": (313, 273),
    "fsopen": (430, 430),
    "io_uring_setup": (425, 425),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "mknodat": (259, 33),
    "mount": (165, 40),
    "name_to_handle_at": (303, 264),
    "newest": (510, 510),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "ptrace": (101, 117),
    "reboot": (169, 142),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapon": (167, 224),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}


def read_targets() -> dict[str, Any]:
    """Return what the test has put on the host for the program to reach."""
    targets = json.loads(sys.stdin.read() or "{}")
    assert isinstance(targets, dict)
    return targets


def attempt(name: str, action: Callable[..., object], *arguments: Any) -> None:
    """Try something; it went through unless it raises."""
    try:
        found = action(*arguments)
    except (OSError, ValueError) as error:
        print(f"held: {name}: {error}", flush=True)
    else:
        print(f"escaped: {name}: {found!r:.60}", flush=True)


def call(name: str, *arguments: Any) -> int:
    """Make a system call. Raises `OSError`."""
    number = ctypes.c_long(NUMBERS[name][IS_ARM])
    ctypes.set_errno(0)
    answer = LIBC.syscall(number, *arguments)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(answer)


def attempt_call(name: str, *arguments: Any) -> None:
    """Try a system call."""
    attempt(name, call, name, *arguments)
