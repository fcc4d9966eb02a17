"""In a process of its own: how a process logs is set once for all of it."""

import json
import subprocess
import sys

SCRIPT = """
import structlog
from miner.logs import configure_logs
configure_logs("miner_1", is_json=True)
def work():
    structlog.get_logger().info("handed in", job="job_1")
work()
"""


def test_a_line_says_service_miner_and_place() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    line = json.loads(done.stderr)
    expected = {
        "service": "miner", "miner": "miner_1", "level": "info", "event": "handed in",
        "job": "job_1", "function": "work", "line": 6,
    }  # fmt: skip
    assert expected.items() <= line.items()
    assert set(line) - set(expected) == {"module", "timestamp"}
