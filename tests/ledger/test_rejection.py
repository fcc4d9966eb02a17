from ledger.rejection import FIRST_EXECUTION_CODE, Rejected, Rejection


def test_the_code_tells_whether_a_block_may_carry_it() -> None:
    """Wire codes: frozen, since every receipts root holds them."""
    before = [member for member in Rejection if member < FIRST_EXECUTION_CODE]
    assert Rejection.BAD_PROOF in before and Rejection.NOT_YET_DUE in before
    assert Rejection.INSUFFICIENT_BALANCE == FIRST_EXECUTION_CODE
    assert all(1 <= member <= 999 for member in Rejection)


def test_a_rejection_speaks_for_itself() -> None:
    plain = Rejected(Rejection.JOB_UNKNOWN)
    assert str(plain) == f"JOB_UNKNOWN: {Rejection.JOB_UNKNOWN.doc}"
    assert Rejected(Rejection.JOB_UNKNOWN, "which").detail == "which"
