"""`python -m tests.power.run_scenario NAME FOLDER VARIANT`: the process that is recorded."""

import asyncio
import sys
from importlib import import_module
from pathlib import Path


def main() -> None:
    """Run a scenario in an empty folder to its end."""
    name, folder, variant = sys.argv[1:]
    module = import_module(f"tests.power.scenarios.{name}")
    asyncio.run(module.run(Path(folder), variant))


if __name__ == "__main__":
    main()
