import pytest

from aitbc.cli.demo.checks import CheckFailed
from aitbc.cli.demo.show import Show


def test_a_story_reads_plainly_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show = Show()
    show.step("The first step")
    show.fact("height", 3)
    show.fact("markup", "[red] is no colour here")
    show.check(True, "it holds")
    show.begin_text()
    show.text("a piece")
    show.text(", and\nanother")
    show.end_text()
    show.table(("account", "AIT"), [("client", "1.5")])
    with show.waiting("starting") as waiting:
        waiting.say("half way")
        waiting.say("half way")
    show.end("done")
    printed, said = capsys.readouterr()
    assert " 1 The first step" in printed
    assert "[red] is no colour here" in printed
    assert "✔ it holds" in printed
    assert "│ a piece, and\n   │ another" in printed
    assert "client" in printed and "1.5" in printed
    assert "\x1b" not in printed
    assert said.count("half way") == 1
    assert show.checks == 1


def test_what_does_not_hold_is_shown_and_ends_the_story(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show = Show()
    with pytest.raises(CheckFailed, match="supply"):
        show.check(False, "the supply is whole")
    assert "✘ the supply is whole" in capsys.readouterr().out
    assert show.checks == 0
