import random

from node.sorted_tail import SLICES, SortedTail, compute_term

CHUNK = 1_000


def make_pairs(seed: int, count: int, first: int) -> list[tuple[int, int]]:
    draw = random.Random(seed)
    terms = [compute_term(1, draw.randbytes(2)) for _ in range(count)]
    return list(zip(terms, range(first, first + count), strict=True))


def test_terms_differ_by_kind_and_key_and_fit_a_column() -> None:
    terms = {compute_term(kind, key) for kind in range(4) for key in (b"", b"a", b"b", b"ab")}
    assert len(terms) == 16
    assert all(-(2**63) <= term < 2**63 for term in terms)
    assert min(terms) < 0 < max(terms)


def test_nothing_is_lost_between_memory_and_table() -> None:
    tail = SortedTail(CHUNK)
    everything: dict[int, list[int]] = {}
    table: list[tuple[int, int]] = []
    batches = 0
    for step in range(200):
        batch = tail.plan(37)
        if batch is not None:
            pairs = batch.sort_pairs()
            assert pairs == sorted(pairs)
            table += pairs
            tail.on_written(batch)
            batches += 1
            if batch.is_last:
                assert batch.chunk.mark <= 37 * step
        fresh = make_pairs(step, 37, 37 * step)
        tail.add(fresh, 37 * (step + 1))
        for term, value in fresh:
            everything.setdefault(term, []).append(value)
        if step % 20 == 0:
            stored: dict[int, list[int]] = {}
            for term, value in table:
                stored.setdefault(term, []).append(value)
            for term, values in everything.items():
                assert sorted(set(stored.get(term, []) + tail.find(term))) == values
                assert tail.find(term) == sorted(tail.find(term))
    assert len(table) == len(set(table))
    assert batches > SLICES


def test_the_tail_stays_bounded_whatever_arrives() -> None:
    for size in (1, 50, 999, 2_500):
        tail = SortedTail(CHUNK)
        for step in range(30):
            batch = tail.plan(size)
            tail.add(make_pairs(step, size, size * step), step)
            if batch is not None:
                tail.on_written(batch)
            assert tail.count_pairs() <= 2 * CHUNK + 2 * size


def test_a_batch_that_was_not_written_is_planned_again() -> None:
    tail = SortedTail(10)
    tail.add(make_pairs(1, 20, 0), 5)
    first = tail.plan(0)
    assert first is not None
    assert tail.plan(0) == first
    tail.on_written(first)
    second = tail.plan(0)
    assert second is not None
    assert second.first == first.end
    assert second.chunk.mark == 5
