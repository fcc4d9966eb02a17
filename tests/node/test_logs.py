"""Each in a process of its own: how a process logs is set once for all of it."""

import json
import subprocess
import sys
from typing import Any

PREPARE = """
import asyncio, logging, threading
import structlog
from node.logs import configure_logs
configure_logs("node", "info", "json")
log = structlog.get_logger()
"""


def run(script: str) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + script], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_says_service_place_and_context() -> None:
    (line,) = run(
        "def work():\n"
        "    with structlog.contextvars.bound_contextvars(request_id='r', job_id='j', block=7):\n"
        "        log.info('done', units=3)\n"
        "work()\n"
    )
    expected = {
        "service": "node", "level": "info", "event": "done", "units": 3, "function": "work",
        "request_id": "r", "job_id": "j", "block": 7,
    }  # fmt: skip
    assert expected.items() <= line.items()
    assert set(line) - set(expected) == {"module", "line", "timestamp"}


def test_a_thread_says_its_service_too() -> None:
    (line,) = run("t = threading.Thread(target=lambda: log.info('x')); t.start(); t.join()")
    assert line["service"] == "node"


def test_less_than_the_level_is_not_written() -> None:
    assert run("log.debug('x'); logging.getLogger('a').info('x')") == []


def test_libraries_write_no_argument_and_no_text_of_an_error() -> None:
    lines = run(
        "def work():\n"
        "    try:\n"
        "        raise ValueError('the prompt')\n"
        "    except ValueError:\n"
        "        log = logging.getLogger('library')\n"
        "        log.error('could not read %s', 'the key', exc_info=True)\n"
        "work()\n"
        "async def fail():\n"
        "    raise ValueError('the prompt')\n"
        "async def main():\n"
        "    task = asyncio.create_task(fail())\n"
        "    await asyncio.sleep(0)\n"
        "asyncio.run(main())\n"
    )
    assert [line["error"] for line in lines] == ["ValueError"] * 2
    assert lines[0]["event"] == "could not read %s"
    assert (lines[0]["library"], lines[0]["function"]) == ("library", "work")
    assert lines[1]["library"] == "asyncio"
    for line in lines:
        assert "the prompt" not in json.dumps(line)
        assert "the key" not in json.dumps(line)
