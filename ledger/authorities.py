"""The rules of the authority set: how members vote on it, and what convicts one (rules A1 to A7).

A change never touches the set in force: it makes the one that follows, and `open_epoch` puts that
in force at the head of the next block, which closes the epoch (rule A2).
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from ledger import ballots, crypto
from ledger.blocks import MAX_AUTHORITIES, Authority, AuthoritySet, find_authority
from ledger.context import Context
from ledger.entries import (
    AUTHORITIES_KEY,
    PROPOSALS_KEY,
    Authorities,
    Conviction,
    OpenProposal,
    OpenProposals,
    conviction_key,
)
from ledger.outcomes import AuthoritiesChanged, AuthorityConvicted, AuthorityVoted, Event
from ledger.quorum import compute_quorum
from ledger.rejection import Rejected, Rejection
from ledger.state import Changes, StateView, get_authorities
from ledger.transactions import AuthorityVote, EquivocationEvidence

OPEN_PROPOSALS: Final = 32
"""How many proposals all members together may have open, each at least one (rule A4)."""


def open_epoch(changes: Changes) -> None:
    """Put the following set in force, where the block being executed closes an epoch (rule A2)."""
    sets = get_authorities(changes)
    if sets.following != sets.current:
        changes.put(AUTHORITIES_KEY, Authorities(sets.following, sets.following))


def apply_vote(context: Context, sender: bytes, payload: AuthorityVote) -> tuple[Event, ...]:
    """Count a member's vote; with a quorum of them the change is made (rules A3 and A4).

    `sender` is the public key that signed the transaction.
    """
    sets = get_authorities(context.changes)
    if not _has_vote(sets, sender):
        raise Rejected(Rejection.NOT_AN_AUTHORITY)
    _check_change(context.changes, sets.following, payload)
    proposals = list_open_proposals(context.changes, context.height)
    known = next((each for each in proposals if _is_about(each, payload)), None)
    proposal = known or _open_proposal(context, sets, sender, payload, proposals)
    quorum = compute_quorum(len(sets.current.members))
    if sender not in proposal.voters:
        proposal = msgspec.structs.replace(proposal, voters=(*proposal.voters, sender))
    elif len(proposal.voters) < quorum:
        raise Rejected(Rejection.VOTED_BEFORE)
    votes = len(proposal.voters)
    voted = AuthorityVoted(payload.is_add, payload.key, payload.account, votes, quorum)
    if votes < quorum:
        place = len(proposals) if known is None else proposals.index(known)
        _put_proposals(context.changes, [*proposals[:place], proposal, *proposals[place + 1 :]])
        return (voted,)
    member = Authority(payload.key, payload.account)
    return voted, _change_set(context, sets, member, is_add=payload.is_add)


def apply_evidence(context: Context, payload: EquivocationEvidence) -> tuple[Event, ...]:
    """Convict an authority and take it out of the following set (rules A6 and A7)."""
    sets, key = get_authorities(context.changes), payload.offender
    if get_conviction(context.changes, key) is not None:
        raise Rejected(Rejection.AUTHORITY_CONVICTED)
    member = find_authority(sets.following, key)
    if member is None and find_authority(sets.current, key) is None:
        raise Rejected(Rejection.AUTHORITY_UNKNOWN)
    if member is not None and len(sets.following.members) == 1:
        raise Rejected(Rejection.AUTHORITY_IS_LAST)
    fault = ballots.find_fault(payload.conflict, key, context.rules.chain_id)
    if fault is None:
        raise Rejected(Rejection.BAD_EVIDENCE)
    epoch, view = fault
    context.changes.put(conviction_key(key), Conviction(epoch, view, context.height))
    convicted = AuthorityConvicted(key, epoch, view)
    if member is None:
        return (convicted,)
    return convicted, _change_set(context, sets, member, is_add=False)


def list_open_proposals(view: StateView, height: int) -> tuple[OpenProposal, ...]:
    """Return the proposals that can still pass in a block at `height`, oldest first."""
    entry = view.get(PROPOSALS_KEY)
    assert entry is None or isinstance(entry, OpenProposals)
    proposals = entry.proposals if entry else ()
    return tuple(each for each in proposals if each.valid_until >= height)


def get_conviction(view: StateView, key: bytes) -> Conviction | None:
    """Return what a consensus key was convicted of."""
    entry = view.get(conviction_key(key))
    assert entry is None or isinstance(entry, Conviction)
    return entry


def compute_proposal_id(is_add: bool, key: bytes, account: bytes) -> bytes:
    """Return the hash by which people name a change of the set (32 bytes)."""
    return crypto.hash_tagged(crypto.TAG_AUTHORITY_CHANGE, bytes([is_add]), key, account)


def _has_vote(sets: Authorities, key: bytes) -> bool:
    """Tell whether a key is of the set in force and not of one who is leaving."""
    return all(find_authority(each, key) is not None for each in (sets.current, sets.following))


def _check_change(changes: Changes, following: AuthoritySet, payload: AuthorityVote) -> None:
    """Check that a change can be made to the following set. Raises `Rejected`."""
    member = find_authority(following, payload.key)
    if not payload.is_add:
        if member is None or member.account != payload.account:
            raise Rejected(Rejection.AUTHORITY_UNKNOWN)
        if len(following.members) == 1:
            raise Rejected(Rejection.AUTHORITY_IS_LAST)
        return
    if member is not None:
        raise Rejected(Rejection.AUTHORITY_EXISTS)
    if get_conviction(changes, payload.key) is not None:
        raise Rejected(Rejection.AUTHORITY_CONVICTED)
    if not crypto.is_valid_public_key(payload.key):
        raise Rejected(Rejection.BAD_AUTHORITY_KEY)
    if len(following.members) == MAX_AUTHORITIES:
        raise Rejected(Rejection.AUTHORITY_SET_FULL)


def _open_proposal(
    context: Context,
    sets: Authorities,
    sender: bytes,
    payload: AuthorityVote,
    proposals: Iterable[OpenProposal],
) -> OpenProposal:
    """Return a new proposal without votes. Raises `Rejected(TOO_MANY_PROPOSALS)`."""
    limit = max(1, OPEN_PROPOSALS // len(sets.current.members))
    if sum(each.voters[0] == sender for each in proposals) >= limit:
        raise Rejected(Rejection.TOO_MANY_PROPOSALS, f"each authority may have {limit} open")
    valid_until = context.height + context.rules.parameters.vote_validity
    return OpenProposal(payload.is_add, payload.key, payload.account, valid_until, ())


def _change_set(
    context: Context, sets: Authorities, member: Authority, *, is_add: bool
) -> AuthoritiesChanged:
    """Let a member join or leave the following set, and drop the votes that this voids."""
    kept = tuple(each for each in sets.following.members if each != member)
    members = (*kept, member) if is_add else kept
    following = AuthoritySet(sets.current.epoch + 1, members)
    sets = Authorities(sets.current, following)
    context.changes.put(AUTHORITIES_KEY, sets)
    before = list_open_proposals(context.changes, context.height)
    left = [
        msgspec.structs.replace(each, voters=voters)
        for each in before
        if (voters := tuple(key for key in each.voters if _has_vote(sets, key)))
        and (find_authority(following, each.key) is None) == each.is_add
    ]
    if tuple(left) != before:
        _put_proposals(context.changes, left)
    return AuthoritiesChanged(following.epoch, is_add, member.key, member.account)


def _is_about(proposal: OpenProposal, payload: AuthorityVote) -> bool:
    asked = (payload.is_add, payload.key, payload.account)
    return (proposal.is_add, proposal.key, proposal.account) == asked


def _put_proposals(changes: Changes, proposals: Iterable[OpenProposal]) -> None:
    changes.put(PROPOSALS_KEY, OpenProposals(tuple(proposals)))
