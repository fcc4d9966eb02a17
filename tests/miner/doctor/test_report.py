"""How what was looked at becomes a verdict."""

from miner.doctor.report import Check, State, build_report, describe_settings, soften

OK = Check("machine", "clock", State.OK, "0 s")
LOW = Check("machine", "disk", State.WARNING, "0.1 GB", "more of it")
GONE = Check("account", "key file", State.MISSING, "no such file", "aitbc keys new NAME")


def test_what_is_missing_keeps_a_miner_from_running_and_a_warning_does_not() -> None:
    assert build_report([]).can_run
    assert build_report([OK, LOW]).can_run
    assert not build_report([OK, GONE, LOW]).can_run


def test_what_may_be_missing_is_a_warning() -> None:
    assert soften(GONE).state is State.WARNING
    assert soften(GONE).remedy == GONE.remedy
    assert soften(OK) is OK


def test_each_setting_that_does_not_read_is_a_check() -> None:
    report = describe_settings(["miner_id: Field required", "kinds.0: no kind"])
    assert not report.can_run
    assert [check.found for check in report.checks] == [
        "miner_id: Field required",
        "kinds.0: no kind",
    ]
    assert all(check.remedy for check in report.checks)
