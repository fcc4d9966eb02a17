"""The vocabulary of refusal is documented, member by member."""

from ledger.rejection import Rejection
from tests.architecture.sources import iterate_modules


def test_each_rejection_has_a_sentence_of_its_own() -> None:
    sentences = [rejection.doc for rejection in Rejection]
    assert all(sentence.endswith(".") and len(sentence.split()) > 3 for sentence in sentences)
    assert len(set(sentences)) == len(sentences)


def test_each_rejection_is_given_somewhere() -> None:
    code = "\n".join(path.read_text() for path in iterate_modules() if path.name != "rejection.py")
    assert [member.name for member in Rejection if f"Rejection.{member.name}" not in code] == []
