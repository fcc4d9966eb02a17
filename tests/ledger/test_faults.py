from ledger.faults import FAULT_TABLE, Reason, is_miners_own, is_reportable

PARTY_OF_DIGIT = {1: "client", 2: "miner", 3: "network"}


def test_the_first_digit_names_the_party() -> None:
    for code, fault in FAULT_TABLE.items():
        assert 10_000 <= code <= 39_999
        assert PARTY_OF_DIGIT[code // 10_000] == fault.party
        assert is_miners_own(code) == (fault.party == "miner")


def test_every_reason_is_in_the_table_with_a_sentence_of_its_own() -> None:
    assert set(FAULT_TABLE) == set(Reason)
    sentences = {fault.sentence for fault in FAULT_TABLE.values()}
    assert len(sentences) == len(FAULT_TABLE)
    assert all(sentence.endswith(".") for sentence in sentences)


def test_only_silence_costs_bond() -> None:
    """A report never costs bond, or nobody would report; and it can be made by no other party."""
    assert [code for code, fault in FAULT_TABLE.items() if fault.costs_bond] == [
        Reason.LEASE_LAPSED
    ]
    assert not any(fault.costs_bond and fault.is_reportable for fault in FAULT_TABLE.values())


def test_what_rules_conclude_is_not_reportable() -> None:
    concluded = {
        Reason.CANCELLED_WHILE_QUEUED,
        Reason.CANCELLED_WHILE_LEASED,
        Reason.LEASE_LAPSED,
        Reason.NO_MINER_IN_TIME,
    }
    assert {code for code in Reason if not is_reportable(code)} == concluded
    for code in (-1, 0, 20_000, 22_000, 99_999):
        assert not is_reportable(code)
