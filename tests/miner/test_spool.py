"""The spool: nothing is lost, nothing is readable, nothing unreadable stops the miner."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from miner.records import Records
from miner.spool import Spool, SpoolBusyError, find_owner, list_claims
from miner.work import Stage, Work, fail
from tests.miner.samples import CLAIMING, FINISHED, JOB, LEASED

KEY = bytes(range(32))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", KEY)
    yield opened
    opened.close()


def get_files(folder: Path, pattern: str = "*.work") -> list[Path]:
    return sorted((folder / "spool").glob(pattern))


def make_work(number: int) -> Work:
    return msgspec.structs.replace(FINISHED, job=number.to_bytes(32, "big"))


@pytest.mark.parametrize(
    "work",
    [CLAIMING, LEASED, FINISHED, fail(LEASED, 22_002, "x" * 900)],
    ids=lambda w: w.stage.name,
)
def test_a_claim_comes_back_as_it_was(work: Work, spool: Spool) -> None:
    spool.save(work)
    assert spool.load() == [work]


def test_the_last_record_of_a_claim_counts_and_a_removed_one_is_gone(spool: Spool) -> None:
    spool.save(LEASED)
    spool.save(FINISHED)
    assert [work.stage for work in spool.load()] == [Stage.FINISHED]
    spool.remove(JOB)
    spool.remove(JOB)
    assert spool.load() == []


def test_files_are_private_and_sealed(spool: Spool, tmp_path: Path) -> None:
    spool.save(FINISHED)
    (path,) = get_files(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert b"secret" not in path.read_bytes()


def test_what_does_not_open_is_set_aside_and_the_rest_is_loaded(
    spool: Spool, tmp_path: Path
) -> None:
    for number in range(4):
        spool.save(make_work(number))
    cut, changed, renamed, _ = get_files(tmp_path)
    cut.write_bytes(cut.read_bytes()[:-1])
    changed.write_bytes(bytes([changed.read_bytes()[0] ^ 1]) + changed.read_bytes()[1:])
    renamed.rename(renamed.with_name("ff" * 32 + ".work"))
    assert spool.load() == [make_work(3)]
    assert len(get_files(tmp_path, "*.unreadable")) == 3


def test_another_key_opens_nothing_and_destroys_nothing(tmp_path: Path) -> None:
    def open_as(key: bytes) -> list[Work]:
        spool = Spool(tmp_path / "spool", key)
        found = spool.load()
        spool.close()
        return found

    spool = Spool(tmp_path / "spool", KEY)
    spool.save(FINISHED)
    spool.close()
    assert open_as(bytes(32)) == []
    (aside,) = get_files(tmp_path, "*.unreadable")
    aside.rename(aside.with_suffix(".work"))
    assert open_as(KEY) == [FINISHED]


def test_a_write_that_was_cut_off_leaves_the_record_before_it(spool: Spool, tmp_path: Path) -> None:
    spool.save(LEASED)
    half = tmp_path / "spool" / f".{JOB.hex()}.work.123.abcd"
    half.write_bytes(b"half")
    assert spool.load() == [LEASED]
    assert not half.exists()


def test_one_process_at_a_time(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(SpoolBusyError):
        Spool(tmp_path / "spool", KEY)


WRITER = """
import msgspec, sys
from pathlib import Path
from miner.spool import Spool
from tests.miner.samples import FINISHED
spool = Spool(Path(sys.argv[1]), bytes(range(32)))
number = 0
while True:
    work = msgspec.structs.replace(FINISHED, job=number.to_bytes(32, "big"))
    spool.save(msgspec.structs.replace(work, stage=2))
    spool.save(work)
    print(number, flush=True)
    number += 1
"""


@pytest.mark.parametrize("acknowledged", [1, 4, 9])
def test_what_was_saved_survives_a_kill_at_any_moment(acknowledged: int, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, env=environment
    ) as writer:
        assert writer.stdout is not None
        for _ in range(acknowledged):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
    spool = Spool(folder, KEY)
    found = spool.load()
    spool.close()
    assert [work.job for work in found][: last + 1] == [make_work(n).job for n in range(last + 1)]
    assert all(work.stage is Stage.FINISHED for work in found[: last + 1])
    assert not list(folder.glob("*.unreadable"))


HOLD = """
import sys
from pathlib import Path
from miner.spool import Spool
Spool(Path(sys.argv[1]), bytes(32))
print("held", flush=True)
input()
"""


def test_the_kernel_says_whose_a_folder_is(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    with pytest.raises(FileNotFoundError):
        find_owner(folder)
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert find_owner(folder) == holder.pid
        with pytest.raises(SpoolBusyError):
            Spool(folder, KEY)
        assert find_owner(folder) == holder.pid  # whoever was refused took nothing away
        holder.communicate("\n")
    assert find_owner(folder) is None


def test_what_a_folder_holds_is_known_without_its_key(spool: Spool, tmp_path: Path) -> None:
    assert list_claims(tmp_path / "spool") == []
    first, second = make_work(2), make_work(1)
    spool.save(first)
    spool.save(second)
    for number, work in enumerate((first, second)):
        os.utime(tmp_path / "spool" / f"{work.job.hex()}.work", ns=(number, number))
    assert list_claims(tmp_path / "spool") == [first.job_id, second.job_id]


async def test_the_event_loop_sees_the_same(spool: Spool) -> None:
    records = Records(spool)
    await records.save(LEASED)
    await records.save(FINISHED)
    assert await records.load() == [FINISHED]
    await records.remove(JOB)
    assert await records.load() == []
