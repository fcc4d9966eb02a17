import json

import pytest

from aitbc.cli.output import note, print_json, print_record, print_table

RECORD = {"job_id": "job_1", "cost": "1.5", "cost_base": "1500000000", "bond_base": "1", "at": None}


def test_a_record_is_json_with_every_member(capsys: pytest.CaptureFixture[str]) -> None:
    print_record(RECORD, as_json=True)
    assert json.loads(capsys.readouterr().out) == RECORD


def test_a_record_for_people_says_each_thing_once(capsys: pytest.CaptureFixture[str]) -> None:
    print_record(RECORD, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "job id     job_1",
        "cost       1.5",
        "bond base  1",
    ]


def test_a_table_never_breaks_a_hash_outside_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [{"a": "0" * 70, "b": "1" * 70, "c": "2" * 70, "hidden": 1}]
    print_table("blocks", ("a", "b", "c"), rows, as_json=False)
    header, row = capsys.readouterr().out.splitlines()
    assert row.split() == ["0" * 70, "1" * 70, "2" * 70]
    assert "hidden" not in header
    print_table("blocks", ("a",), rows, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"blocks": rows}


def test_brackets_in_a_table_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("errors", ("a",), [{"a": "should match '^[a-z]$' [bold]x[/bold]"}], as_json=False)
    assert "should match '^[a-z]$' [bold]x[/bold]" in capsys.readouterr().out


def test_data_and_notes_go_different_ways(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": "höher"})
    note("by the way")
    printed, said = capsys.readouterr()
    assert json.loads(printed) == {"text": "höher"}
    assert "höher" in printed
    assert said == "by the way\n"
