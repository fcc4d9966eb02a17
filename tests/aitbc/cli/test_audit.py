"""The audit log, exported at a true node by its operator."""

import json
from pathlib import Path

from tests.support.clients import served_node


async def test_the_log_is_exported_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    async with served_node(tmp_path / "n") as served, served.connect() as client:
        for _ in range(3):
            await client.jobs.create(prompt="A secret prompt.", max_cost="0.1")
        export = ("audit", "export")
        printed = await served.run_command(*export, who="operator")
        assert printed.exit_code == 0, printed.stderr
        entries = [json.loads(line) for line in printed.stdout.splitlines()]
        made = [each for each in entries if each["role"] == "client"]
        assert len(made) >= 3
        assert "secret prompt" not in printed.stdout
        action = made[0]["action"]
        written = await served.run_command(
            *export, "--action", action, "-o", str(file), who="operator"
        )
        assert (written.exit_code, written.stdout) == (0, ""), written.stderr
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert {line["action"] for line in lines} == {action}
        assert f"{len(lines)} entries" in written.stderr
        assert file.stat().st_mode & 0o777 == 0o600
        before = file.read_text()
        refused = await served.run_command(*export, "-o", str(file))
        assert (refused.exit_code, refused.stdout) == (31, "")
        assert file.read_text() == before
        wrong = await served.run_command(*export, "--from", "yesterday", who="operator")
        assert wrong.exit_code == 31 and "/from" in wrong.stderr
