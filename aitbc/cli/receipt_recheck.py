"""`aitbc receipt recheck`: a job of one's own, run again on one's own machine and compared."""

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from aitbc.cli.api import DEFAULT_URL, ApiKeyFile, ApiUrl, open_client
from aitbc.cli.failures import CommandError
from aitbc.cli.output import AsJson, note, print_record
from aitbc.cli.trust import CheckpointFile, GenesisFile, load_trusted
from node.exit_codes import ExitCode


def recheck_result(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="A completed job of one's own.")],
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    genesis: GenesisFile = None,
    checkpoint: CheckpointFile = None,
    as_json: AsJson = False,
) -> None:
    """Run a job again here and say whether its result stands, under its service's class.

    The receipt's signature is verified first; with --genesis or --checkpoint its settlement too.
    Exit code 0: the result stands. 33: it is refused, or the receipt is not of this job. 35: this
    machine cannot say, and what it lacks is named.
    """
    import_engines()
    from miner.recheck.rerun import Claim, OtherJobError, recheck
    from miner.recheck.verdict import Standing

    trusted = None if genesis is None and checkpoint is None else load_trusted(genesis, checkpoint)
    with open_client(api_url, api_key_file) as client:
        receipt = client.jobs.get_receipt(job_id)
        core = receipt.verify()
        if trusted is not None:
            receipt.verify(client.receipts.get_bundle(core.receipt_id), trusted)
        results = client.jobs.get_results(job_id)["results"]
        claim = Claim(core, client.jobs.get_content(job_id), results)
        note(f"the receipt holds; running {core.service} again as {core.verification}")

        async def fetch_file(file_id: str, path: Path) -> None:
            await asyncio.to_thread(client.files.download_to, file_id, path)

        try:
            with warnings_on_stderr():
                found = asyncio.run(recheck(claim, fetch_file))
        except OtherJobError as error:
            raise CommandError(
                str(error), ExitCode.VERIFICATION_FAILED, f"aitbc receipt get {job_id}"
            ) from None
    record: dict[str, Any] = {
        "job_id": core.job_id,
        "service": core.service,
        "verification": core.verification,
        "receipt": "settlement verified" if trusted is not None else "signature verified",
        **found.verdict.to_record(),
        "engine": core.engine,
        "device": core.device,
        "pins": core.pins,
        "pins_here": dict(found.pins),
    }
    print_record(record, as_json=as_json)
    if found.verdict.standing is Standing.REFUSED:
        raise CommandError(
            f"the result does NOT stand: {found.verdict.reason}",
            ExitCode.VERIFICATION_FAILED,
            f"aitbc receipt export {job_id} -o receipt.json, to show what was signed",
        )
    if found.verdict.standing is Standing.UNKNOWN:
        raise CommandError(
            f"no verdict: {found.verdict.reason}",
            ExitCode.CANNOT_SAY,
            "the same command on a machine that has what is named"
            if core.verification != "none"
            else f"aitbc receipt export {job_id} -o receipt.json, then aitbc receipt verify on it",
        )


@contextmanager
def warnings_on_stderr() -> Iterator[None]:
    """Keep the engines' log lines out of the data: warnings alone, and on stderr."""
    import structlog

    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def import_engines() -> None:
    """Have the miner's packages, or say how to get them. Raises `CommandError`."""
    try:
        import miner.recheck.rerun  # noqa: F401 - what a bare installation has no packages for
    except ModuleNotFoundError as error:
        raise CommandError(
            f"a job is run again by a miner's engines, and {error.name} is not installed",
            ExitCode.CONFIGURATION,
            "pip install 'aitbc[node,miner]', then the same command",
        ) from None
