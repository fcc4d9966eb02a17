"""Where this node's chain stands, who certifies it, and the document that it follows from."""

from typing import Final

import msgspec
from aiohttp import web

from coordinator import wire
from coordinator.http.routing import PUBLIC, Answer, Call, Route
from genesis.document import dump_genesis
from ledger import codec, crypto
from ledger.authorities import compute_proposal_id, list_open_proposals
from ledger.blocks import AuthoritySet
from ledger.entries import OpenProposal
from ledger.quorum import compute_fault_bound, compute_quorum
from ledger.state import get_authorities, get_totals
from node import chain_base
from node.routes import models
from node.routes.answers import answer_final
from node.routes.network import list_voters
from node.routes.reader import ChainReader
from node.sqlcipher import get_raw

_TAG: Final = "Chain"


def build_routes(reader: ChainReader) -> tuple[Route, ...]:
    """Return the routes of the chain as a whole."""
    document = dump_genesis(reader.genesis)

    async def show_status(call: Call) -> Answer:
        return Answer(describe_status(reader))

    async def show_validators(call: Call) -> Answer:
        return Answer(describe_validators(reader))

    async def show_successions(call: Call) -> Answer:
        query = call.get_query(models.SuccessionsQuery)
        return Answer(await list_successions(reader, query.epoch, query.limit))

    async def show_genesis(call: Call) -> web.StreamResponse:
        headers = answer_final(None, reader.port.chain_id.hex()).headers
        return web.Response(body=document, content_type="application/json", headers=headers)

    return (
        Route(
            "GET", "/v1/chain/status", show_status, "Where this node stands", _TAG,
            roles=PUBLIC, answers={200: models.ChainStatus},
        ),
        Route(
            "GET", "/v1/chain/validators", show_validators, "The authorities in force", _TAG,
            roles=PUBLIC, answers={200: models.ValidatorSet},
        ),
        Route(
            "GET", "/v1/chain/successions", show_successions, "How the authority sets followed",
            _TAG, roles=PUBLIC, query=models.SuccessionsQuery, answers={200: models.Successions},
        ),
        Route(
            "GET", "/v1/chain/genesis", show_genesis, "The document that names the chain", _TAG,
            roles=PUBLIC,
        ),
    )  # fmt: skip


def describe_status(reader: ChainReader) -> models.ChainStatus:
    """Return what a client needs to know before it signs."""
    port, genesis = reader.port, reader.genesis
    status, head = port.get_status(), port.get_head()
    return models.ChainStatus(
        chain_id=port.chain_id.hex(),
        name=genesis.name,
        is_dev=port.is_dev,
        height=status.height,
        hash=status.hash.hex(),
        view=status.view,
        epoch=head.epoch,
        state_root=head.state_root.hex(),
        time=wire.format_time(status.time_ms),
        time_ms=status.time_ms,
        finality=status.finality,
        validators=status.validators,
        peers=status.peers,
        behind_by=status.behind_by,
        voters=list_voters(reader),
        mempool=models.MempoolSize(
            transactions=status.mempool.transactions, bytes=status.mempool.bytes
        ),
        minimum_fee_rate=port.parameters.minimum_fee_rate,
        maximum_validity=port.parameters.maximum_validity,
        proof_key_id=port.proof.key_id.hex(),
        proof={
            "key_id": port.proof.key_id.hex(),
            "circuit": port.proof.circuit.hex(),
            "curve": port.proof.curve,
        },
        parameters=msgspec.structs.asdict(port.parameters),
        outage_ms=get_totals(reader.view).outage,
    )


def describe_validators(reader: ChainReader) -> models.ValidatorSet:
    """Return the authorities that certify the next block, and those after it."""
    authorities, height = get_authorities(reader.view), reader.port.get_head().height
    size = len(authorities.current.members)
    return models.ValidatorSet(
        height=height,
        epoch=authorities.current.epoch,
        quorum=compute_quorum(size),
        fault_bound=compute_fault_bound(size),
        validators=_list_members(authorities.current),
        next_epoch=authorities.following.epoch,
        next_validators=_list_members(authorities.following),
        proposals=[
            _describe_proposal(proposal)
            for proposal in list_open_proposals(reader.view, height + 1)
        ],
    )


async def list_successions(reader: ChainReader, epoch: int, limit: int) -> models.Successions:
    """Return what a light client needs to follow the authority sets from an epoch on."""
    known = await reader.store.database.read(
        lambda connection: chain_base.read_successions(get_raw(connection))
    )
    wanted = [each for each in known if each.header.epoch >= epoch]
    return models.Successions(
        successions=[
            models.Succession(
                epoch=each.following.epoch,
                height=each.header.height,
                succession=codec.encode(each).hex(),
            )
            for each in wanted[:limit]
        ]
    )


def _describe_proposal(proposal: OpenProposal) -> models.ValidatorProposal:
    name = compute_proposal_id(proposal.is_add, proposal.key, proposal.account)
    return models.ValidatorProposal(
        proposal_id=f"proposal_{name.hex()}",
        action="add" if proposal.is_add else "remove",
        public_key=proposal.key.hex(),
        address=crypto.format_address(proposal.account),
        voters=[voter.hex() for voter in proposal.voters],
        valid_until=proposal.valid_until,
    )


def _list_members(authorities: AuthoritySet) -> list[models.Validator]:
    return [
        models.Validator(
            index=index,
            public_key=member.key.hex(),
            address=crypto.format_address(member.account),
        )
        for index, member in enumerate(authorities.members)
    ]
