"""`make sdk-js-browser`: the package's one-file bundle in a headless Chromium, at a running node.

Debian's package `chromium` has the program; CHROMIUM names another one.
"""

import asyncio
import json
import tempfile
from pathlib import Path

from aitbc.cli.devnet.ports import find_free_port
from genesis.document import dump_genesis
from node import folder
from tests.sdk_js.bundles import make_bundle_cases
from tests.sdk_js.toolchain import build_package, find_toolchain, run_script
from tests.support.custody import enrol
from tests.support.node import NODE, build_genesis, reopened_node


async def check(data: Path) -> str:
    """Return what the page found; a fault raises."""
    tools = find_toolchain()
    await asyncio.to_thread(build_package, tools)
    (data / "bundles.json").write_text(json.dumps(make_bundle_cases()))
    genesis, port = build_genesis(), find_free_port()
    await asyncio.to_thread(folder.create_folder, data / "n", dump_genesis(genesis), NODE.seed)
    keys = await asyncio.to_thread(enrol, data / "n")
    origins = f"http://127.0.0.1:{port}"
    async with reopened_node(data / "n", genesis, cors_origins=origins) as node:
        variables = {
            "AITBC_TEST_FIXTURES": str(data),
            "AITBC_TEST_URL": node.url,
            "AITBC_TEST_CLIENT_KEY": keys["client"]["X-Api-Key"],
            "AITBC_TEST_PAGE_PORT": str(port),
        }
        return await run_script(tools, "check-browser", variables)


def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        print(asyncio.run(check(Path(data))), end="")


if __name__ == "__main__":
    main()
