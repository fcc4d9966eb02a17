"""README, docs and messages say what is there: commands, files, routes, settings, exit codes."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command, get_group

import aitbc.ceremony
import miner.cli
import miner.run
from aitbc.cli.main import app
from coordinator.services.registry import SERVICES
from miner.settings import MinerSettings
from node.exit_codes import ExitCode
from node.settings import NodeSettings
from tests.architecture.sources import ROOT, get_name, iterate_files, iterate_modules

GUIDES = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ELSEWHERE = {"miner": get_group(miner.cli.app), "ceremony": get_group(aitbc.ceremony.app)}
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
FILE = re.compile(r"\.?[\w-]+(?:/[\w.-]+)*(?:/|\.py|\.md|\.toml|\.json|\.lock)")
OF_A_RUN = {
    ".demo/", "DATA", "DIR", "ceremony.json", "config.toml", "devnet.json", "genesis.json",
    "model.py", "result.json", "verification_key.json",
}  # fmt: skip
"""What names a file or folder of a running network or job, and not of this one."""
OF_A_SANDBOX = re.compile(r"/(?:code|dev|etc|input|mnt|proc|sys|tmp|usr|work)(?:/|$)")
"""What names a place in a job's sandbox, and no route."""


def read_code(path: Path) -> Iterator[str]:
    """Yield each inline code and each line of the fenced shell blocks of a page."""
    text = path.read_text()
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    yield from INLINE.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def read_messages(path: Path) -> Iterator[str]:
    """Yield every text of a module that names a command to run, values left as X."""
    for node in ast.walk(ast.parse(path.read_text())):
        text = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
            text = "".join(map(str, parts))
        for part in re.split(r", (?:or|then) |[;:(]\s*", text):
            if part.startswith("aitbc "):
                yield part


def find_mistake(command: str) -> str | None:
    """Return what a command line names that `aitbc` does not have."""
    words = re.sub("[,`…()]", " ", command.split(" #", maxsplit=1)[0]).split()[1:]
    found: Any = get_command(app)
    if words and words[0] in ELSEWHERE:
        found = ELSEWHERE[words.pop(0)]
    while words and hasattr(found, "commands") and words[0][0] != "-" and words[0] != "COMMAND":
        name = words.pop(0)
        if name not in found.commands:
            return f"no command {name!r} in {command!r}"
        found = found.commands[name]
    options = {name for each in found.params for name in (*each.opts, *each.secondary_opts)}
    unknown = [word for word in words if word[0] == "-" and word not in {"-", "--help", *options}]
    return f"no option {unknown} in {command!r}" if unknown else None


@pytest.mark.parametrize("path", GUIDES, ids=get_name)
def test_commands_of_a_page_exist(path: Path) -> None:
    commands = [code for code in read_code(path) if code.startswith("aitbc ")]
    assert [mistake for code in commands if (mistake := find_mistake(code))] == []


def test_commands_that_messages_name_exist() -> None:
    named = {(get_name(path), text) for path in iterate_modules() for text in read_messages(path)}
    assert len(named) > 20
    mistakes = {name: find_mistake(text) for name, text in named}
    assert {name: mistake for name, mistake in mistakes.items() if mistake} == {}


@pytest.mark.parametrize(
    ("command", "is_wrong"),
    [
        ("aitbc nosuch", True),
        ("aitbc keys nosuch alice", True),
        ("aitbc keys list --nosuch", True),
        ("aitbc keys list --json", False),
        ("aitbc receipt export JOB -o FILE", False),
        ("aitbc miner run --nosuch x", True),
    ],
)
def test_a_wrong_command_is_found(command: str, is_wrong: bool) -> None:
    assert (find_mistake(command) is not None) is is_wrong


@pytest.mark.parametrize("path", GUIDES, ids=get_name)
def test_targets_of_make_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {code.split()[1] for code in read_code(path) if re.match(r"make [a-z0-9-]+", code)}
    assert named - targets == set()


@pytest.mark.parametrize("path", GUIDES, ids=get_name)
def test_modules_that_a_page_runs_exist(path: Path) -> None:
    named = re.findall(r"python -m ([a-z0-9_.]+)", path.read_text())
    places = {name: ROOT.joinpath(*name.split(".")) for name in named}
    missing = [
        name
        for name, place in places.items()
        if not place.with_suffix(".py").exists() and not (place / "__main__.py").exists()
    ]
    assert missing == []


@pytest.mark.parametrize("path", GUIDES, ids=get_name)
def test_routes_of_a_page_exist(path: Path) -> None:
    document = json.loads((ROOT / "sdk-js" / "openapi.json").read_text())
    known = {re.sub(r"\{\w+\}", "{}", route) for route in document["paths"]}
    named = {
        re.sub(r"\{\w+\}", "{}", route).rstrip("…")
        for code in read_code(path)
        for route in re.findall(r"^(?:GET |POST |DELETE )?(/[a-z][\w/{}.…-]*)$", code)
        if not OF_A_SANDBOX.match(route)
    }
    known |= {"/ws", "/openapi.json", "/asyncapi.json"}
    bare = [each.removeprefix("/api") for each in named]
    assert [each for each in bare if not any(each in route for route in known)] == []


@pytest.mark.parametrize("path", GUIDES, ids=get_name)
def test_files_of_a_page_exist(path: Path) -> None:
    known = {get_name(each) for each in iterate_files(("",))} | {".ci/run"}
    known |= {f"{parent}/" for name in known for parent in map(str, Path(name).parents)}
    missing = [
        code
        for code in INLINE.findall(path.read_text())
        if FILE.fullmatch(code)
        and code.split("/aitbc")[0].split("/")[0] not in OF_A_RUN
        and code not in OF_A_RUN
        and not any(name == code or name.endswith(f"/{code}") for name in known)
    ]
    assert missing == []


@pytest.mark.parametrize("path", GUIDES, ids=get_name)
def test_links_of_a_page_lead_somewhere(path: Path) -> None:
    targets = LINK.findall(path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("folder", ["decisions", "protocol"])
def test_an_index_names_every_page(folder: str) -> None:
    pages = {path.name for path in (ROOT / "docs" / folder).glob("*.md")} - {"README.md"}
    assert set(LINK.findall((ROOT / "docs" / folder / "README.md").read_text())) >= pages


def read_table(text: str, head: str) -> list[list[str]]:
    body = text[text.index(head) :].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def test_the_table_of_settings_is_that_of_the_code() -> None:
    def write(value: object) -> str:
        return f"`{str(value).lower() if isinstance(value, bool) else value}`"

    assert read_table(OPERATIONS, "| setting | default |") == [
        [
            f"`{name}`",
            "" if field.is_required() or field.default is None else write(field.default),
            field.description,
        ]
        for name, field in NodeSettings.model_fields.items()
    ]


def test_every_exit_code_is_explained() -> None:
    listed = [int(row[0]) for row in read_table(OPERATIONS, "| code | meaning |")]
    assert listed == [*ExitCode, 130]


def test_the_miner_ends_with_the_same_codes() -> None:
    codes = {code.name: int(code) for code in ExitCode}
    assert {code.name: int(code) for code in miner.run.ExitCode}.items() <= codes.items()


def test_settings_of_the_miner_that_the_page_names_exist() -> None:
    page = (ROOT / "docs" / "miners.md").read_text()
    rows = page.split("| setting | default |")[1].split("\n\n")[0].splitlines()[2:]
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])}
    assert len(named) > 10
    assert named <= set(MinerSettings.model_fields)


def test_the_page_of_services_says_what_they_are() -> None:
    page = (ROOT / "docs" / "services.md").read_text()
    rows = page.split("| service | unit |")[1].split("\n\n")[0].splitlines()[2:]
    told = [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]
    assert told == [
        [
            service.service_id,
            service.unit_type,
            "per second" if service.billing else "per unit",
            service.default_model
            or ("the node's `default_model" if service.service_id == "llm_inference" else "–"),
            service.verification.value,
            next(iter(service.sources), "–"),
        ]
        for service in SERVICES.values()
    ]
