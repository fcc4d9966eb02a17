import time

import pytest
from typer.testing import CliRunner, Result

from aitbc.cli.devnet.ports import find_free_port
from aitbc.cli.main import app


def run(*arguments: str, key: str | None = "aitbc_key", url: str | None = None) -> Result:
    return CliRunner(
        env={"AITBC_API_KEY": key, "AITBC_API_URL": url, "AITBC_API_KEY_FILE": None}
    ).invoke(app, arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "list"),
        ("jobs", "submit", "hello"),
        ("jobs", "results", "job_00"),
        ("receipt", "get", "receipt_00"),
        ("explorer", "blocks"),
        ("account", "ait1pp60ff99sxwsvxm5fu9k50mtxhrftk2h85tk27"),
        ("api-keys", "list"),
    ],
)
def test_nobody_there_is_exit_code_30(arguments: tuple[str, ...]) -> None:
    begin = time.monotonic()
    result = run(*arguments, url=f"http://127.0.0.1:{find_free_port()}")
    assert (result.exit_code, result.stdout) == (30, "")
    assert "aitbc devnet" in result.stderr
    assert time.monotonic() - begin < 5


def test_the_url_option_wins_over_the_environment() -> None:
    port = find_free_port()
    result = run(
        "explorer", "blocks", "--api-url", f"http://127.0.0.1:{port}", url="http://[::1]:9"
    )
    assert f":{port}" in result.stderr


def test_a_missing_key_is_said_before_anything_is_sent() -> None:
    result = run("jobs", "list", key=None)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "AITBC_API_KEY" in result.stderr


def test_what_is_no_address_of_an_api_is_refused() -> None:
    assert run("jobs", "list", url="ftp://node").exit_code == 2


@pytest.mark.parametrize(
    "arguments", [(), ("--body", "absent.json", "text"), ("text", "--prompt", "text")]
)
def test_a_job_is_a_prompt_or_a_body(arguments: tuple[str, ...]) -> None:
    result = run("jobs", "submit", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "aitbc jobs submit --help" in result.stderr
