"""`make sdk-js-browser`: the receipts' cases in a headless Chromium, with the one-file bundle.

Debian's package `chromium` has the program; CHROMIUM names another one.
"""

import asyncio
import json
import tempfile
from pathlib import Path

from tests.sdk_js.bundles import make_bundle_cases
from tests.sdk_js.toolchain import build_package, find_toolchain, run_script


def main() -> None:
    """Build the package, run the check and print what it found; a wrong verdict raises."""
    tools = find_toolchain()
    build_package(tools)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bundles.json").write_text(json.dumps(make_bundle_cases()))
        variables = {"AITBC_TEST_FIXTURES": folder}
        print(asyncio.run(run_script(tools, "check-browser", variables)), end="")


if __name__ == "__main__":
    main()
