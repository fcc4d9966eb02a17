import pytest

from coordinator.signals import Signals, job_topic
from coordinator.streams import MAX_READERS, MAX_TEXT, MAX_TOTAL, StreamGap, Streams, TextTooLong

JOB = bytes(32)


def make_id(number: int) -> bytes:
    return number.to_bytes(32)


def test_pieces_follow_each_other_whatever_overlaps() -> None:
    streams = Streams(Signals())
    assert streams.append(JOB, 1, 0, "one ") == 4
    assert streams.append(JOB, 1, 4, "two ") == 8
    assert streams.append(JOB, 1, 2, "e two three") == 13
    assert streams.append(JOB, 1, 0, "one") == 13
    text = streams.get(JOB)
    assert text is not None and text.text == "one two three"
    with pytest.raises(StreamGap) as caught:
        streams.append(JOB, 1, 14, "x")
    assert caught.value.length == 13


def test_another_lease_begins_anew() -> None:
    streams = Streams(Signals())
    streams.append(JOB, 1, 0, "first")
    assert streams.append(JOB, 2, 0, "se") == 2
    assert streams.get_length(JOB, 1) == 0
    assert streams.get_length(JOB, 2) == 2


def test_what_is_kept_is_bounded() -> None:
    streams = Streams(Signals())
    streams.append(JOB, 1, 0, "x" * MAX_TEXT)
    with pytest.raises(TextTooLong):
        streams.append(JOB, 1, MAX_TEXT, "y")
    count = MAX_TOTAL // MAX_TEXT + 3
    for number in range(1, count):
        streams.append(make_id(number), 1, 0, "x" * MAX_TEXT)
    kept = [number for number in range(count) if streams.get(make_id(number)) is not None]
    assert kept == list(range(count - MAX_TOTAL // MAX_TEXT, count))
    streams.drop_ended(lambda job_id: job_id == make_id(count - 1))
    assert [number for number in range(count) if streams.get(make_id(number))] == [count - 1]


async def test_readers_are_woken() -> None:
    signals = Signals()
    streams = Streams(signals)
    with signals.listen(job_topic(JOB)) as listener:
        streams.append(JOB, 1, 0, "")
        assert not await listener.wait(0)
        streams.append(JOB, 1, 0, "a")
        assert await listener.wait(0)


def test_an_account_reads_so_many() -> None:
    streams = Streams(Signals())
    assert all(streams.enter(1) for _ in range(MAX_READERS))
    assert not streams.enter(1)
    assert streams.enter(2)
    streams.leave(1)
    assert streams.enter(1)
