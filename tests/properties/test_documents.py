"""The pages of docs/protocol say what the code does: rules cited, records, arrows, faults."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec
import pytest

from ledger import ballots, blocks, entries, merkle, outcomes, state_tree, transactions
from ledger.faults import FAULT_TABLE, Reason
from ledger.life_cycle import LIFE_CYCLE
from ledger.types import Record
from tests.architecture.sources import ROOT, get_name, iterate_modules

PAGES = ROOT / "docs" / "protocol"
NUMBER = re.compile(r"\b([A-Z]\d{1,2}(?:\.\d{1,2})?)\b")
CITATION = re.compile(
    r"\b(?:[Rr]ules?|[Ss]ections?)\s+((?:[A-Z]\d[\d.]*(?:\s*,\s*|\s+and\s+|\s+to\s+|\s+)?)+)"
)
DEFINITION = re.compile(
    r"\*\*([A-Z]\d{1,2}(?:\.\d{1,2})?)(?=\*\*| )|^## ([A-Z]\d{1,2})\.", re.MULTILINE
)


def read(page: str) -> str:
    return (PAGES / page).read_text()


def find_definitions() -> dict[str, str]:
    """Return each rule's number with the page that defines it; none may be defined twice."""
    found: dict[str, str] = {}
    for path in sorted(PAGES.glob("*.md")):
        for match in DEFINITION.finditer(path.read_text()):
            number = match[1] or match[2]
            assert number not in found, f"{number} is defined twice"
            found[number] = path.name
    return found


@cache
def get_citations(path: Path) -> frozenset[str]:
    return frozenset(find_citations(re.sub(r"\n\s*#", " ", path.read_text())))


def find_citations(text: str) -> list[str]:
    numbers = []
    for citation in CITATION.findall(text):
        first_and_last = re.findall(r"([A-Z])(\d+)\s+to\s+\1(\d+)\b(?!\.)", citation)
        for letter, first, last in first_and_last:
            numbers += [f"{letter}{number}" for number in range(int(first), int(last) + 1)]
        numbers += NUMBER.findall(citation)
    return numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Pay (rule L7).", ["L7"]),
        ("Rules L2 and L4 of docs", ["L2", "L4"]),
        ("(rules J1, J2, J4, J5 and the deadlines)", ["J1", "J2", "J4", "J5"]),
        ("rules B1 to B3", ["B1", "B2", "B3", "B1", "B3"]),
        ("Rules P1.1 to P1.3 of", ["P1.1", "P1.3"]),
        ("Section P4 of X25519, AIT, L9", ["P4"]),
    ],
)
def test_citations_are_found(text: str, numbers: list[str]) -> None:
    assert find_citations(text) == numbers


def test_every_rule_that_the_code_cites_is_on_a_page() -> None:
    defined = find_definitions()
    cited = {
        (number, get_name(path)) for path in iterate_modules() for number in get_citations(path)
    }
    assert len(cited) > 60
    assert sorted(citation for citation in cited if citation[0] not in defined) == []


def test_the_ledger_cites_what_its_pages_define() -> None:
    """A rule that no line of code cites is either not enforced or not findable."""
    pages = {"encoding.md", "ledger.md", "settlement.md", "marketplace.md"}
    sources = [*iterate_modules(("ledger", "consensus", "node")), *(ROOT / "tests").rglob("*.py")]
    cited = {n for path in sources if path != Path(__file__) for n in get_citations(path)}
    defined = {number for number, page in find_definitions().items() if page in pages}
    assert sorted(defined - cited) == []


def test_rules_on_pages_refer_to_rules_on_pages() -> None:
    defined = find_definitions()
    letters = {number[0] for number in defined}
    for page in ("encoding.md", "ledger.md", "settlement.md", "marketplace.md"):
        named = set(re.findall(r"\b([A-Z]\d{1,2}(?:\.\d)?)\b", read(page)))
        rules = {number for number in named if number[0] in letters}
        assert sorted(rules - set(defined)) == []


def test_links_lead_somewhere() -> None:
    pages = [*PAGES.glob("*.md"), *(ROOT / "docs" / "decisions").glob("*.md")]
    broken = [
        f"{get_name(page)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def iterate_records() -> Iterator[type[Record]]:
    for module in (ballots, transactions, blocks, entries, outcomes, merkle, state_tree):
        for value in vars(module).values():
            is_record = isinstance(value, type) and issubclass(value, Record)
            if is_record and value.__module__ == module.__name__ and value.__name__[0] != "_":
                yield value


def test_the_page_lists_every_record_with_its_fields_in_order() -> None:
    lines = re.findall(r"^- (\w+)(?: \((\d+)\))?: (.*)$", read("encoding.md"), re.MULTILINE)
    listed = {
        name: (int(tag) if tag else None, tuple(re.findall(r"`(\w+)`", fields)))
        for name, tag, fields in lines
    }
    actual = {
        record.__name__: (record.__struct_config__.tag, record.__struct_fields__)
        for record in iterate_records()
    }
    assert listed == actual
    assert all(issubclass(record, msgspec.Struct) for record in iterate_records())


def test_the_page_lists_every_status_and_outcome() -> None:
    page = read("encoding.md")
    for kind in (entries.JobStatus, entries.AttemptOutcome):
        text = ", ".join(f"{int(member)} {member.name.lower()}" for member in kind)
        assert text in page


def read_table(page: str, head: str) -> list[list[str]]:
    text = read(page)
    body = text[text.index(head) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def test_the_page_draws_the_life_cycle_of_the_code() -> None:
    drawn = read_table("settlement.md", "| from | step | to |")
    assert drawn == [
        [status.name.lower(), step.name.lower(), " or ".join(e.name.lower() for e in sorted(ends))]
        for (status, step), ends in LIFE_CYCLE.items()
    ]


def test_the_page_publishes_the_fault_table_of_the_code() -> None:
    published = read_table("settlement.md", "| code | name | who failed |")
    word = {True: "yes", False: "no"}
    assert published == [
        [
            str(int(code)),
            Reason(code).name,
            fault.party,
            fault.stage,
            word[fault.is_reportable],
            word[fault.costs_bond],
            fault.sentence,
        ]
        for code, fault in FAULT_TABLE.items()
    ]
