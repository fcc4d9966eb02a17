"""The committed API document of the JavaScript package: what a running node serves.

`python -m tests.sdk_js.contract` writes it again, after a change of routes or models.
"""

import asyncio
import json
import tempfile
from pathlib import Path

from tests.sdk_js.toolchain import PACKAGE
from tests.support.node import RunningNode, running_node

SNAPSHOT = PACKAGE / "openapi.json"


async def read_document(node: RunningNode) -> str:
    """Return the document that a node serves, as the snapshot holds it."""
    document = await node.read("/openapi.json")
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


async def regenerate() -> None:
    """Write the snapshot."""
    with tempfile.TemporaryDirectory() as folder:
        async with running_node(Path(folder) / "node") as node:
            SNAPSHOT.write_text(await read_document(node))


if __name__ == "__main__":
    asyncio.run(regenerate())
