"""The filter, run as the kernel runs it: step by step over the call's number and arguments."""

import struct

import pytest

from miner.sandbox.seccomp import ALLOW, EAFNOSUPPORT, ENOSYS, EPERM, KILL_PROCESS, build_filter

ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
NUMBERS = {
    # On x86_64, on aarch64.
    "read": (0, 63),
    "openat": (257, 56),
    "execve": (59, 221),
    "futex": (202, 98),
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "clone": (56, 220),
    "clone3": (435, 435),
    "socket": (41, 198),
    "ioctl": (16, 29),
    "ptrace": (101, 117),
    "mount": (165, 40),
    "unshare": (272, 97),
    "keyctl": (250, 219),
    "io_uring_setup": (425, 425),
    "open_by_handle_at": (304, 265),
    "newest": (470, 470),
}
TIOCSTI, TIOCGWINSZ = 0x5412, 0x5413


def judge(program: bytes, number: int, audit: int, *arguments: int) -> int:
    """Return what a filter says of a call (linux/bpf_common.h: the few instructions it has)."""
    padded = (*arguments, *(0,) * 6)[:6]
    data = struct.pack("<IIQ6Q", number, audit, 0, *padded)
    steps = list(struct.iter_unpack("=HBBI", program))
    place, loaded = 0, 0
    while True:
        code, yes, no, value = steps[place]
        place += 1
        if code == 0x06:
            assert isinstance(value, int)
            return value
        if code == 0x20:
            (loaded,) = struct.unpack_from("<I", data, value)
        else:
            is_met = {
                0x15: loaded == value,
                0x25: loaded > value,
                0x35: loaded >= value,
                0x45: bool(loaded & value),
            }[code]
            place += yes if is_met else no


@pytest.mark.parametrize("machine", list(ARCHITECTURES))
def test_calls_are_judged_by_number_and_argument(machine: str) -> None:
    program = build_filter(machine)
    audit = ARCHITECTURES[machine]
    column = list(ARCHITECTURES).index(machine)

    def ask(name: str, *arguments: int) -> int:
        return judge(program, NUMBERS[name][column], audit, *arguments)

    for name in ("read", "openat", "execve", "futex", "memfd_create", "shmget"):
        assert ask(name) == ALLOW
    for name in ("ptrace", "mount", "unshare", "keyctl", "io_uring_setup", "open_by_handle_at"):
        assert ask(name) == EPERM
    assert ask("clone3") == ENOSYS
    assert ask("newest") == ENOSYS
    assert ask("clone", 0x3D0F00) == ALLOW  # a thread
    for flag in (0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x4000_0000):
        assert ask("clone", flag | 17) == EPERM
    assert [ask("socket", family) for family in (1, 2, 10)] == [ALLOW] * 3
    for family in (0, 3, 16, 17, 31, 38, 40, 44, 2**32 - 1):
        assert ask("socket", family) == EAFNOSUPPORT
    assert ask("ioctl", 0, TIOCGWINSZ) == ALLOW
    assert ask("ioctl", 0, TIOCSTI) == EPERM
    assert ask("ioctl", 0, TIOCSTI | 1 << 40) == EPERM  # the kernel reads 32 bits
    # By another architecture's numbers everything else may be meant.
    assert judge(program, NUMBERS["read"][column], 0x4000_0003) == KILL_PROCESS
    if machine == "x86_64":
        assert judge(program, 0x4000_0000, audit) == KILL_PROCESS


@pytest.mark.parametrize("machine", list(ARCHITECTURES))
def test_memory_that_no_process_is_charged_for_is_denied_where_nothing_else_counts(
    machine: str,
) -> None:
    program = build_filter(machine, denies_uncounted=True)
    column = list(ARCHITECTURES).index(machine)
    for name in ("memfd_create", "shmget"):
        assert judge(program, NUMBERS[name][column], ARCHITECTURES[machine]) == EPERM


def test_a_machine_without_a_filter_is_named() -> None:
    with pytest.raises(ValueError, match="no filter for riscv64"):
        build_filter("riscv64")
