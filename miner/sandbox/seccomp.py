"""Decides which calls of the kernel a foreign program never makes: the filter bubblewrap loads.

Denied: what looks into other processes, changes mounts, namespaces, clocks or the kernel, what has
often been a way out of sandboxes, and every call that is newer than this list. They fail, so that
programs which only try go on. Programs of another architecture, whose numbers mean other calls, are
killed. Of the socket families only those stay that a network namespace keeps apart: `AF_VSOCK`
would reach the host of a virtual machine. (seccomp(2); classic BPF over `struct seccomp_data`:
number at 0, architecture at 4, arguments from 16.)
"""

import platform
import struct
from typing import Final, NamedTuple

ALLOW: Final = 0x7FFF_0000
KILL_PROCESS: Final = 0x8000_0000
EPERM: Final = 0x0005_0001
ENOSYS: Final = 0x0005_0026
EAFNOSUPPORT: Final = 0x0005_0061

_LOAD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_ABOVE: Final = 0x25
_JUMP_AT_LEAST: Final = 0x35
_JUMP_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24

CLONE_NAMESPACES: Final = 0x7E02_0080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME."""
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
SOCKET_FAMILIES: Final = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6."""
LAST_KNOWN_CALL: Final = 469
"""`file_setattr`, of Linux 6.17."""


class _Architecture(NamedTuple):
    audit: int
    x32: int | None
    """Numbers from here on are the 32-bit flavour of the same architecture."""
    clone: int
    clone3: int
    ioctl: int
    socket: int
    denied: tuple[int, ...]
    uncounted: tuple[int, ...]
    """Memory that no process's own limits count: memfd_create, shmget, msgget."""


_COMMON: Final = (424, 425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442, 467)
"""pidfd_send_signal, io_uring (3), open_tree, move_mount, fsopen, fsconfig, fsmount, fspick,
pidfd_getfd, process_madvise, mount_setattr, open_tree_attr: the same everywhere."""

_ARCHITECTURES: Final = {
    "x86_64": _Architecture(
        audit=0xC000_003E, x32=0x4000_0000, clone=56, clone3=435, ioctl=16, socket=41,
        uncounted=(319, 29, 68),
        denied=(
            101, 310, 311, 312,  # ptrace, process_vm_readv, process_vm_writev, kcmp
            155, 161, 165, 166, 167, 168,  # pivot_root, chroot, mount, umount2, swapon, swapoff
            272, 308,  # unshare, setns
            248, 249, 250,  # add_key, request_key, keyctl
            298, 321, 323,  # perf_event_open, bpf, userfaultfd
            175, 176, 313, 246, 320,  # (init, delete, finit)_module, kexec_load, kexec_file_load
            159, 164, 227, 305,  # adjtimex, settimeofday, clock_settime, clock_adjtime
            103, 153, 163, 169, 170, 171,  # syslog, vhangup, acct, reboot, sethostname, -domainname
            303, 304, 133, 259,  # name_to_handle_at, open_by_handle_at, mknod, mknodat
            172, 173, 154, 179, 180, 212,  # iopl, ioperm, modify_ldt, quotactl, nfsservctl, cookie
            237, 238, 239, 256, 279,  # mbind, set_mempolicy, get_mempolicy, migrate_, move_pages
            135, 300,  # personality, fanotify_init
        ),
    ),
    "aarch64": _Architecture(
        audit=0xC000_00B7, x32=None, clone=220, clone3=435, ioctl=29, socket=198,
        uncounted=(279, 194, 186),
        denied=(
            117, 270, 271, 272, 41, 51, 40, 39, 224, 225, 97, 268, 217, 218, 219, 241, 280, 282,
            105, 106, 273, 104, 294, 171, 170, 112, 266, 116, 58, 89, 142, 161, 162, 264, 265, 33,
            60, 42, 18, 235, 237, 236, 238, 239, 92, 262,
        ),
    ),
}  # fmt: skip


def build_filter(machine: str | None = None, *, denies_uncounted: bool = False) -> bytes:
    """Return the filter for an architecture, by default this machine's.

    `denies_uncounted` where nothing counts the memory of a run as a whole. Raises `ValueError` for
    an architecture that has no filter.
    """
    name = machine or platform.machine()
    if name not in _ARCHITECTURES:
        raise ValueError(f"there is no filter for {name}")
    known = _ARCHITECTURES[name]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, known.audit),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if known.x32 is not None:
        program += [(_JUMP_AT_LEAST, 0, 1, known.x32), (_RETURN, 0, 0, KILL_PROCESS)]
    program += [(_JUMP_ABOVE, 0, 1, LAST_KNOWN_CALL), (_RETURN, 0, 0, ENOSYS)]
    denied = (*known.denied, *_COMMON, *(known.uncounted if denies_uncounted else ()))
    for number in denied:
        program += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, EPERM)]
    # Its flags lie in memory, where no filter can look: C libraries then fall back to `clone`.
    program += [(_JUMP_EQUAL, 0, 1, known.clone3), (_RETURN, 0, 0, ENOSYS)]
    return b"".join(
        struct.pack("=HBBI", *step)
        for step in (*program, *_build_arguments(known), (_RETURN, 0, 0, ALLOW))
    )


def _build_arguments(known: _Architecture) -> list[tuple[int, int, int, int]]:
    """Return the steps that look at a call's arguments; the number is what was loaded last."""
    families = len(SOCKET_FAMILIES)
    return [
        (_JUMP_EQUAL, 0, 4, known.clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_ANY_BIT, 0, 1, CLONE_NAMESPACES),
        (_RETURN, 0, 0, EPERM),
        (_RETURN, 0, 0, ALLOW),
        (_JUMP_EQUAL, 0, 5, known.ioctl),
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
        (_JUMP_EQUAL, 1, 0, TIOCSTI),
        (_JUMP_EQUAL, 0, 1, TIOCLINUX),
        (_RETURN, 0, 0, EPERM),
        (_RETURN, 0, 0, ALLOW),
        (_JUMP_EQUAL, 0, families + 2, known.socket),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *(
            (_JUMP_EQUAL, families - place, 0, family)
            for place, family in enumerate(SOCKET_FAMILIES)
        ),
        (_RETURN, 0, 0, EAFNOSUPPORT),
    ]
