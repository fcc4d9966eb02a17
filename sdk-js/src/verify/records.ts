/** The chain's records that a receipt's bundle is made of, field by field (docs/protocol/encoding.md). */

import { binary, bool, list, optional, record, text, union, whole, wide } from './codec.js';
import type { Infer } from './codec.js';
import { hash, TAG_AUTHORITIES, TAG_HEADER } from './crypto.js';

const MOST = 2n ** 63n - 1n;

export const amount = wide(0n, MOST);
export const counter = wide(0n, MOST);
export const time = whole(0, 2 ** 48 - 1);
export const digest = binary(32);
const key = binary(32);
const signature = binary(64);
export const address = binary(20);
const proof = binary(192);
const name = text(/^[a-z0-9][a-z0-9_.-]{0,63}$/);
const metadata = binary(0, 4096);
const billing = whole(0, 1);
const offeredJobs = whole(1, 1_000_000);

export const MAX_AUTHORITIES = 100;
const MAX_PROOF_HEADERS = 4096;

export const Header = record({
  version: whole(1, 1),
  chainId: digest,
  epoch: counter,
  height: counter,
  view: counter,
  parentView: counter,
  time,
  parent: digest,
  proposer: key,
  transactionsRoot: digest,
  receiptsRoot: digest,
  stateRoot: digest,
  authorities: digest,
  nextAuthorities: digest,
});
export type Header = Infer<typeof Header>;

export const Authority = record({ key, account: address });
export type Authority = Infer<typeof Authority>;

export const AuthoritySet = record({
  epoch: counter,
  members: list(Authority, 1, MAX_AUTHORITIES),
});
export type AuthoritySet = Infer<typeof AuthoritySet>;

/** Kinds of a ballot: notarize, nullify, finalize. */
export const NULLIFY = 2;
export const FINALIZE = 3;

export const Ballot = record({
  kind: whole(1, 3),
  epoch: counter,
  view: counter,
  blockHash: digest,
});
export type Ballot = Infer<typeof Ballot>;

export const Certificate = record(
  {
    ballot: Ballot,
    signers: list(whole(0, MAX_AUTHORITIES - 1), 1, MAX_AUTHORITIES),
    signatures: list(signature, 1, MAX_AUTHORITIES),
  },
  3,
);
export type Certificate = Infer<typeof Certificate>;

export const FinalityProof = record({
  headers: list(Header, 0, MAX_PROOF_HEADERS),
  certificate: Certificate,
});
export type FinalityProof = Infer<typeof FinalityProof>;

export const Succession = record({
  header: Header,
  finality: FinalityProof,
  following: AuthoritySet,
});
export type Succession = Infer<typeof Succession>;

const SignedBallot = record({ ballot: Ballot, signature });
const ProposedBlock = record({ blockHash: digest, signature });
const Conflict = union(
  record({ first: SignedBallot, second: SignedBallot }, 1),
  record({ epoch: counter, view: counter, first: ProposedBlock, second: ProposedBlock }, 2),
);

/** The kind number of a settlement, which its proof's context names (rule P2.4). */
export const SETTLE = 7;

const JobSettle = record(
  { job: digest, receiptCommit: digest, amount, epochTime: time, proof },
  SETTLE,
);
export type JobSettle = Infer<typeof JobSettle>;

/** A bundle's transaction must be a settlement; the others are read to refuse them by name. */
const Payload = union(
  record({ recipient: address, amount }, 1),
  record({ miner: name, encryptionKey: key, metadata, bond: amount }, 2),
  record({ miner: name, encryptionKey: key, metadata, addedBond: amount }, 3),
  record({ miner: name }, 4),
  record(
    {
      idempotencyTag: digest,
      service: name,
      billing,
      coordinator: address,
      escrow: amount,
      jobCommit: digest,
      queueDeadline: time,
      executionLimit: time,
      totalDeadline: time,
    },
    5,
  ),
  record({ job: digest, miner: name, priceCommit: digest }, 6),
  JobSettle,
  record({ job: digest, reasonCode: whole(0, 99_999) }, 8),
  record({ job: digest }, 9),
  record(
    {
      idempotencyTag: digest,
      miner: name,
      service: name,
      billing,
      price: amount,
      maxJobs: offeredJobs,
      metadata,
      expiresAt: time,
    },
    10,
  ),
  record({ offer: digest }, 11),
  record({ job: digest, offer: digest }, 12),
  record({ isAdd: bool, key, account: address }, 13),
  record({ offender: key, conflict: Conflict }, 14),
);

const content = {
  version: whole(1, 1),
  sender: key,
  nonce: counter,
  fee: amount,
  validUntil: counter,
  payload: Payload,
};

/** What the sender of a transaction signs, the tag and the chain's id before it. */
export const UnsignedTransaction = record(content);
export const Transaction = record({ ...content, signature });
export type Transaction = Infer<typeof Transaction>;

export const Lease = record({
  miner: name,
  number: counter,
  payee: address,
  priceCommit: digest,
  claimedAt: time,
  endsAt: counter,
  penalty: amount,
});
export type Lease = Infer<typeof Lease>;

const Attempt = record({
  miner: name,
  number: counter,
  outcome: whole(1, 5),
  reasonCode: counter,
});

const Settlement = record({
  receiptCommit: digest,
  payout: amount,
  coordinatorShare: amount,
  networkShare: amount,
  refund: amount,
  height: counter,
});

const Acceptance = record({ offer: digest, miner: name, price: amount, holdsUntil: counter });

export const SETTLED = 4;

export const Job = record(
  {
    client: address,
    service: name,
    billing,
    coordinator: address,
    escrow: amount,
    jobCommit: digest,
    queueWindow: time,
    queueDeadline: counter,
    executionLimit: time,
    totalDeadline: counter,
    submittedAt: time,
    status: whole(1, 6),
    reasonCode: counter,
    lease: optional(Lease),
    attempts: list(Attempt),
    settlement: optional(Settlement),
    acceptance: optional(Acceptance),
  },
  3,
);
export type Job = Infer<typeof Job>;

export const JOB_SETTLED = 4;

const JobSettled = record(
  {
    job: digest,
    miner: name,
    number: counter,
    payee: address,
    receiptCommit: digest,
    amount,
    payout: amount,
    coordinatorShare: amount,
    networkShare: amount,
    refund: amount,
  },
  JOB_SETTLED,
);
export type JobSettled = Infer<typeof JobSettled>;

const Event = union(
  record({ job: digest, client: address, escrow: amount }, 1),
  record({ job: digest, miner: name, number: counter, claimedAt: time, endsAt: counter }, 2),
  record(
    {
      job: digest,
      miner: name,
      number: counter,
      outcome: whole(1, 5),
      reasonCode: counter,
      penalty: amount,
    },
    3,
  ),
  JobSettled,
  record({ job: digest, status: whole(1, 6), reasonCode: counter, refund: amount }, 5),
  record({ job: digest, endsAt: counter }, 6),
  record({ isAdd: bool, key, account: address, votes: counter, quorum: counter }, 7),
  record({ epoch: counter, isAdd: bool, key, account: address }, 8),
  record({ key, epoch: counter, view: counter }, 9),
  record(
    {
      offer: digest,
      miner: name,
      service: name,
      price: amount,
      maxJobs: counter,
      endsAt: counter,
    },
    10,
  ),
  record({ offer: digest, miner: name }, 11),
  record(
    {
      job: digest,
      offer: digest,
      miner: name,
      price: amount,
      holdsUntil: counter,
      left: counter,
    },
    12,
  ),
);

export const Outcome = record({
  subject: digest,
  code: counter,
  fee: amount,
  events: list(Event),
});
export type Outcome = Infer<typeof Outcome>;

export const InclusionProof = record({ index: counter, count: counter, siblings: list(digest) });
export type InclusionProof = Infer<typeof InclusionProof>;

export const StateProof = record({
  leaf: counter,
  count: counter,
  nodes: list(binary(32, 16 * 32)),
});
export type StateProof = Infer<typeof StateProof>;

/** The settling transaction and its outcome, each under a root of a final header. */
export const SettlementPart = record({
  header: Header,
  finality: FinalityProof,
  transaction: binary(0, 2 ** 32 - 1),
  transactionInclusion: InclusionProof,
  outcome: Outcome,
  outcomeInclusion: InclusionProof,
});
export type SettlementPart = Infer<typeof SettlementPart>;

/** The job's entry in the state after a final header. */
export const StatePart = record({
  header: Header,
  finality: FinalityProof,
  job: Job,
  proof: StateProof,
});
export type StatePart = Infer<typeof StatePart>;

/** The hash of a block: the tagged hash of its header (rule B2). */
export function computeHeaderHash(header: Header): Uint8Array {
  return hash(TAG_HEADER, Header.encode(header));
}

/** The hash by which headers name an authority set. */
export function computeAuthoritiesHash(authorities: AuthoritySet): Uint8Array {
  return hash(TAG_AUTHORITIES, AuthoritySet.encode(authorities));
}
