"""Following a chain's authority sets through a node that is not trusted."""

from typing import Any

from aitbc.cli.failures import CommandError
from aitbc.errors import InvalidAnswerError
from consensus.light_client import decode_succession, follow
from consensus.verification import Committee
from genesis.checkpoint import Checkpoint
from ledger.rejection import Rejected
from node.exit_codes import ExitCode


def follow_chain(client: Any, trusted: Checkpoint) -> Checkpoint:
    """Return the newest checkpoint that a node can prove. Raises `CommandError`."""
    status = client.chain.get_status()
    if status.chain_id != trusted.chain_id.hex():
        raise CommandError(
            f"the node is on chain {status.chain_id}",
            ExitCode.WRONG_CHAIN,
            "set AITBC_API_URL to a node of your chain",
        )
    committee = Committee(trusted.chain_id, trusted.authorities)
    while shown := _read(client.chain.list_successions(committee.epoch)):
        try:
            committee = follow(committee, map(decode_succession, shown))
        except Rejected as error:
            raise CommandError(
                f"the node's authority sets do not follow from epoch {committee.epoch}: {error}",
                ExitCode.VERIFICATION_FAILED,
                "set AITBC_API_URL to another node of your chain",
            ) from None
    return trusted._replace(authorities=committee.authorities)


def _read(answer: Any) -> list[bytes]:
    try:
        return [bytes.fromhex(each["succession"]) for each in answer["successions"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidAnswerError(f"no successions in the node's answer: {error!r}") from None
