"""The JavaScript package, built and tested against a node that runs in this process."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from genesis.document import dump_genesis
from node import folder
from tests.sdk_js.bundles import make_bundle_cases
from tests.sdk_js.contract import SNAPSHOT, read_document
from tests.sdk_js.toolchain import PACKAGE, Toolchain, build_package, find_toolchain, run_script
from tests.sdk_js.vectors import make_vectors
from tests.support.custody import enrol
from tests.support.node import CLIENT, NODE, build_genesis, get_text_address, reopened_node


@pytest.fixture(scope="module")
def tools() -> Toolchain:
    found = find_toolchain()
    build_package(found)
    return found


async def test_its_tests_pass_at_a_running_node(tools: Toolchain, tmp_path: Path) -> None:
    (tmp_path / "bundles.json").write_text(json.dumps(make_bundle_cases()))
    (tmp_path / "vectors.json").write_text(json.dumps(make_vectors()))
    genesis = build_genesis()
    await asyncio.to_thread(folder.create_folder, tmp_path / "n", dump_genesis(genesis), NODE.seed)
    keys = await asyncio.to_thread(enrol, tmp_path / "n")
    async with reopened_node(tmp_path / "n", genesis) as node:
        is_current = await read_document(node) == SNAPSHOT.read_text()
        assert is_current, "the API has changed: run `python -m tests.sdk_js.contract`"
        variables = {
            "AITBC_TEST_FIXTURES": str(tmp_path),
            "AITBC_TEST_URL": node.url,
            "AITBC_TEST_CLIENT_KEY": keys["client"]["X-Api-Key"],
            "AITBC_TEST_MINER_KEY": keys["miner"]["X-Api-Key"],
            "AITBC_TEST_ADDRESS": get_text_address(CLIENT),
        }
        printed = await run_script(tools, "test", variables)
    passed = re.search(r"^(?:#|ℹ) pass (\d+)$", printed, re.MULTILINE)
    assert passed is not None and int(passed[1]) > 250, printed


def test_what_is_published_is_what_was_built(tools: Toolchain) -> None:
    (packed,) = json.loads(tools.run("pack", "--dry-run", "--json", "--ignore-scripts"))
    names = {file["path"] for file in packed["files"]}
    manifest = json.loads((PACKAGE / "package.json").read_text())
    for target in manifest["exports"].values():
        paths = {target} if isinstance(target, str) else set(target.values())
        assert {path.removeprefix("./") for path in paths} <= names
    assert {"README.md", "LICENSE", "package.json"} <= names
    assert not {name for name in names if name.startswith(("test/", "src/", "node_modules/"))}


def test_it_needs_no_package_but_the_two_that_it_names(tools: Toolchain) -> None:
    locked = json.loads((PACKAGE / "package-lock.json").read_text())["packages"]
    needed = {name for name, each in locked.items() if name and not _is_for_development(each)}
    assert needed == {"node_modules/@noble/curves", "node_modules/@noble/hashes"}


def _is_for_development(package: dict[str, object]) -> bool:
    return any(package.get(mark) is True for mark in ("dev", "devOptional", "optional", "peer"))
