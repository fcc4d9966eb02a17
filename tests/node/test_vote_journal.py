"""The node's own signatures on disk: durable, repeated byte for byte, never contradicted."""

import resource
from pathlib import Path

import pytest

from ledger.ballots import NO_BLOCK, Ballot, VoteKind
from node.exit_codes import ExitCode
from node.vote_journal import ConflictRefused, JournalRefused, JournalUnwritable, VoteJournal
from tests.ledger.world import CHAIN, MINER, OTHER_CHAIN, PROPOSER

BALLOT = Ballot(VoteKind.FINALIZE, 0, 5, b"\x01" * 32)


def open_journal(path: Path, stored: int = 0, *, override: bool = False) -> VoteJournal:
    return VoteJournal(path, CHAIN, PROPOSER.seed, stored, override=override)


def test_a_vote_is_the_same_bytes_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    journal = open_journal(path)
    vote = journal.sign_vote(BALLOT, None, 0)
    journal.close()
    again = open_journal(path, stored=1)
    assert again.sign_vote(BALLOT, None, 0) == vote
    assert again.sequence == 1


def test_a_contradiction_is_never_signed(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    open_journal(path).sign_vote(BALLOT, None, 0)
    again = open_journal(path)
    for ballot in (
        Ballot(VoteKind.FINALIZE, 0, 5, b"\x02" * 32),
        Ballot(VoteKind.NULLIFY, 0, 5, NO_BLOCK),
    ):
        with pytest.raises(ConflictRefused) as caught:
            again.sign_vote(ballot, None, 0)
        assert caught.value.exit_code is ExitCode.CONFLICTING_SIGNATURE_SEEN


def test_a_missing_or_older_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    with pytest.raises(JournalRefused) as caught:
        open_journal(path, stored=3)
    assert caught.value.exit_code is ExitCode.SIGN_STATE_MISSING_OR_OLD
    assert not path.exists()
    journal = open_journal(path)
    journal.sign_vote(BALLOT, None, 0)
    journal.close()
    before = path.read_bytes()
    with pytest.raises(JournalRefused):
        open_journal(path, stored=2)
    assert path.read_bytes() == before


def test_an_operator_may_go_on_without_the_lost_votes(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    journal = open_journal(path, stored=7, override=True)
    assert journal.is_wiped
    journal.sign_vote(BALLOT, None, 0)
    journal.close()
    assert open_journal(path, stored=7).sequence == 8


def test_a_torn_end_is_cut_and_damage_inside_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    journal = open_journal(path)
    journal.sign_vote(BALLOT, None, 0)
    whole = path.read_bytes()
    journal.sign_vote(Ballot(VoteKind.FINALIZE, 0, 6, b"\x03" * 32), None, 0)
    journal.close()
    both = path.read_bytes()
    path.write_bytes(both[:-3])
    torn = open_journal(path)
    assert torn.sequence == 1
    assert path.read_bytes() == whole
    torn.close()
    path.write_bytes(both[:40] + bytes([both[40] ^ 1]) + both[41:])
    with pytest.raises(JournalRefused):
        open_journal(path)


def test_a_journal_of_another_chain_or_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    open_journal(path).close()
    for chain, seed in ((OTHER_CHAIN, PROPOSER.seed), (CHAIN, MINER.seed)):
        with pytest.raises(JournalRefused):
            VoteJournal(path, chain, seed, 0, override=False)


def test_what_cannot_be_made_durable_does_not_leave(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    journal = open_journal(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Half a frame fits, as on a disk that is all but full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
    try:
        with pytest.raises(JournalUnwritable):
            journal.sign_vote(BALLOT, None, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    journal.close()
    again = open_journal(path)
    assert again.sequence == 0
    again.sign_vote(Ballot(VoteKind.NULLIFY, 0, 5, NO_BLOCK), None, 0)
