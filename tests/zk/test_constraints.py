"""Both builders on small circuits: what they record and what they compute."""

from hypothesis import given
from hypothesis import strategies as st

from zk.constraints import ONE, Evaluator, LinearCombination, Recorder
from zk.field import R


def test_combinations_add_and_scale_modulo_the_order() -> None:
    recorder = Recorder()
    x, y = recorder.new_wire(), recorder.new_wire()
    total = 3 * x - y * 2 + 5 - (x + 4)
    assert total.terms == {1: 2, 2: R - 2, ONE: 1}
    assert (1 - x).terms == {ONE: 1, 1: R - 1}
    assert recorder.combine([2, 3, 4], [x, y, x]).terms == {1: 6, 2: 3}


def test_a_product_makes_a_wire_and_a_constraint() -> None:
    recorder = Recorder()
    x, y = recorder.new_wire(), recorder.new_wire()
    recorder.multiply(x + 1, y - y, "rule")
    (constraint,) = recorder.constraints
    assert constraint.left == {ONE: 1, 1: 1}
    assert constraint.right == {}
    assert constraint.product == {3: 1}
    assert constraint.rule == "rule"
    assert recorder.wire_count == 4


@given(st.integers(-(1 << 12), 1 << 12))
def test_bits_hold_exactly_for_numbers_in_range(value: int) -> None:
    evaluator = Evaluator()
    evaluator.assert_bits(value, 10, "range")
    assert bool(evaluator.broken_rules) == (not 0 <= value < 1 << 10)


@given(st.integers(0, R - 1), st.integers(0, R - 1), st.integers(-1, 1))
def test_products_are_checked(left: int, right: int, error: int) -> None:
    evaluator = Evaluator()
    evaluator.assert_product(left, right, left * right + error, "product")
    assert evaluator.broken_rules == (["product"] if error else [])
    assert evaluator.multiply(left, right, "other") == left * right % R


def test_bits_cost_one_constraint_each_and_one_for_the_sum() -> None:
    recorder, evaluator = Recorder(), Evaluator()
    recorder.assert_bits(recorder.new_wire(), 7, "range")
    evaluator.assert_bits(evaluator.new_wire(5), 7, "range")
    assert len(recorder.constraints) == len(evaluator.left) == len(evaluator.right) == 8
    assert recorder.wire_count == len(evaluator.witness) == 9


def test_constants_stand_on_the_first_wire() -> None:
    assert (LinearCombination({}) + 7).terms == {ONE: 7}
