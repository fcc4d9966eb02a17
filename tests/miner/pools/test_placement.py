"""How many engines a cluster holds."""

import pytest

from miner.pools.placement import MAX_ENGINES, Demand, Node, NoRoomError, plan

TEXT, IMAGE = "llm_inference", "stable_diffusion"


def test_a_kind_fills_the_cluster() -> None:
    nodes = [Node("a", 4, 0), Node("b", 3, 0)]
    assert plan(nodes, [Demand(TEXT, 2, 0)]) == {TEXT: 3}


def test_kinds_take_turns() -> None:
    assert plan([Node("a", 4, 0)], [Demand(TEXT, 1, 0), Demand(IMAGE, 1, 0)]) == {TEXT: 2, IMAGE: 2}


def test_a_number_that_was_asked_for_goes_before_what_fills_the_rest() -> None:
    demands = [Demand(TEXT, 1, 0), Demand(IMAGE, 1, 0, 3)]
    assert plan([Node("a", 4, 0)], demands) == {TEXT: 1, IMAGE: 3}


def test_an_engine_does_not_span_nodes() -> None:
    nodes = [Node("a", 3, 0), Node("b", 3, 0)]
    assert plan(nodes, [Demand(TEXT, 2, 0)]) == {TEXT: 2}
    with pytest.raises(NoRoomError, match=r"no node .* llm_inference: 4 processors and 0 GPUs"):
        plan(nodes, [Demand(TEXT, 4, 0)])


def test_work_without_a_gpu_leaves_the_nodes_that_have_one_to_the_work_with() -> None:
    nodes = [Node("gpu", 2, 2), Node("cpu", 2, 0)]
    demands = [Demand(IMAGE, 1, 0, 2), Demand(TEXT, 1, 1)]
    assert plan(nodes, demands) == {IMAGE: 2, TEXT: 2}


def test_tenths_of_a_processor_add_up_to_one() -> None:
    assert plan([Node("a", 1, 0)], [Demand(TEXT, 0.1, 0)]) == {TEXT: 10}


def test_too_many_are_refused_and_what_fits_is_said() -> None:
    with pytest.raises(NoRoomError, match="room for 2 of 3 engines for llm_inference"):
        plan([Node("a", 8, 2)], [Demand(TEXT, 1, 1, 3)])
    with pytest.raises(NoRoomError):
        plan([], [Demand(TEXT, 1, 0)])


def test_a_large_cluster_is_filled_up_to_the_limit() -> None:
    nodes = [Node(str(number), 64, 0) for number in range(10)]
    counts = plan(nodes, [Demand(TEXT, 1, 0), Demand(IMAGE, 1, 0)])
    assert sum(counts.values()) == MAX_ENGINES
