"""Decides what a miner needs of its node and its account: an answer, a key, money, a bond."""

import email.utils
import time
from typing import Final

import httpx2

from aitbc.client import AsyncAITBCClient
from aitbc.errors import (
    AITBCError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
)
from aitbc.exchange import RetryPolicy
from aitbc.models import ChainStatus
from aitbc.wallet import Wallet
from miner.doctor.report import ACCOUNT, MACHINE, NODE, Check, State, soften
from miner.money import format_ait
from miner.settings import MinerSettings

ANSWER_SECONDS: Final = 10.0
FEE_BYTES: Final = 4_000
"""Claim and settlement of one job, which pay by the byte."""
JOBS_OF_FEES: Final = 100
CLOCK_SECONDS: Final = 5
"""A node's answer is dated to the second, and on its way for some time."""
ONCE: Final = RetryPolicy(attempts=1)


async def check_nodes(
    settings: MinerSettings, wallet: Wallet | None, key_id: bytes | None
) -> list[Check]:
    """Return what each node says, and what the first that answers says of the account."""
    checks: list[Check] = []
    answering: tuple[str, ChainStatus] | None = None
    for url in settings.api_urls:
        check, status = await _check_node(url)
        checks.append(check)
        if status is not None and answering is None:
            answering = url, status
    if answering is None:
        return checks
    url, status = answering
    # One node that answers is enough.
    checks = [soften(check) for check in checks]
    checks.append(await _check_clock(url))
    if key_id is not None:
        checks.append(_check_chain_key(status, key_id))
    key = settings.api_key.get_secret_value()
    async with AsyncAITBCClient(url, key, timeout=ANSWER_SECONDS, retries=ONCE) as client:
        try:
            checks.append(await _check_api_key(client, settings))
            if wallet is not None:
                checks += await _check_account(client, settings, wallet, status)
        except AITBCError as error:
            checks.append(Check(NODE, "answers", State.MISSING, str(error), "the same again"))
    return checks


async def _check_node(url: str) -> tuple[Check, ChainStatus | None]:
    begin = time.monotonic()
    try:
        async with AsyncAITBCClient(url, timeout=ANSWER_SECONDS, retries=ONCE) as client:
            status = await client.chain.get_status()
    except AITBCError as error:
        remedy = "name another with --api-url, or start that node: aitbc node run --data FOLDER"
        found = str(error) if url in str(error) else f"{url}: {error}"
        return Check(NODE, "reachable", State.MISSING, found, remedy), None
    milliseconds = round(1_000 * (time.monotonic() - begin))
    found = f"{url}, height {status.height}, {milliseconds} ms"
    if status.behind_by:
        found += f", {status.behind_by} blocks behind"
        return Check(NODE, "reachable", State.WARNING, found, "wait, or another node"), status
    return Check(NODE, "reachable", State.OK, found), status


async def _check_clock(url: str) -> Check:
    """Compare our clock with the date of an answer's header."""
    try:
        async with httpx2.AsyncClient(timeout=ANSWER_SECONDS) as client:
            begin = time.time()
            response = await client.get(url.rstrip("/") + "/v1/chain/status")
            middle = (begin + time.time()) / 2
        said = email.utils.parsedate_to_datetime(response.headers["date"]).timestamp()
    except (httpx2.HTTPError, KeyError, ValueError) as error:
        found = f"the node does not say the time: {error!r}"
        return Check(MACHINE, "clock", State.WARNING, found, "timedatectl")
    # A date is cut to its second.
    offset = middle - said - 0.5
    found = f"{abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} the node's"
    if abs(offset) > CLOCK_SECONDS:
        return Check(MACHINE, "clock", State.WARNING, found, "timedatectl set-ntp true")
    return Check(MACHINE, "clock", State.OK, found)


def _check_chain_key(status: ChainStatus, key_id: bytes) -> Check:
    if status.proof_key_id == key_id.hex():
        return Check(NODE, "proofs", State.OK, "the chain accepts proofs of the proving key")
    return Check(
        NODE,
        "proofs",
        State.MISSING,
        f"the chain accepts proofs of key {status.proof_key_id[:16]}, ours is {key_id.hex()[:16]}",
        "the chain's .zkey from its operators, as proving_key_file",
    )


async def _check_api_key(client: AsyncAITBCClient, settings: MinerSettings) -> Check:
    remedy = "the node's operator: aitbc api-keys new --role miner --address ADDRESS"
    try:
        await client.miners.list_earnings(settings.miner_id, limit=1)
    except AuthenticationError as error:
        return Check(ACCOUNT, "API key", State.MISSING, str(error), remedy)
    except PermissionDeniedError as error:
        return Check(ACCOUNT, "API key", State.MISSING, str(error), remedy)
    except NotFoundError:
        pass  # accepted; the miner is not registered, or another account's
    return Check(ACCOUNT, "API key", State.OK, "accepted, of the role miner")


async def _check_account(
    client: AsyncAITBCClient, settings: MinerSettings, wallet: Wallet, status: ChainStatus
) -> list[Check]:
    try:
        balance = int((await client.chain.get_account(wallet.text_address)).balance_base)
    except NotFoundError:
        balance = 0
    try:
        known = await client.explorer.get_miner(settings.miner_id)
    except NotFoundError:
        known = None
    is_registered = known is not None and bool(known.get("is_active"))
    checks = []
    if known is not None and known.get("owner") != wallet.text_address:
        owner = known.get("owner")
        found = f"{settings.miner_id} is registered by {owner}"
        checks.append(Check(ACCOUNT, "name", State.MISSING, found, "another miner_id"))
        is_registered = False
    elif known is not None and is_registered:
        found = f"{settings.miner_id}, bond {known.get('bond')} AIT"
        checks.append(Check(ACCOUNT, "bond", State.OK, found))
    bond = 0 if is_registered else settings.bond_base
    fees = status.minimum_fee_rate * FEE_BYTES
    found = f"{format_ait(balance)} AIT"
    if balance < bond + fees:
        remedy = (
            f"send at least {format_ait(bond + fees * JOBS_OF_FEES)} AIT to {wallet.text_address}"
        )
        checks.append(Check(ACCOUNT, "balance", State.MISSING, found, remedy))
    elif balance < bond + fees * JOBS_OF_FEES:
        remedy = f"it pays the fees of fewer than {JOBS_OF_FEES} jobs, unless they pay first"
        checks.append(Check(ACCOUNT, "balance", State.WARNING, found, remedy))
    else:
        rest = f", of which {format_ait(bond)} for the bond" if bond else ""
        checks.append(Check(ACCOUNT, "balance", State.OK, found + rest))
    return checks
