/**
 * One file that proves a settled receipt to anybody, with no network (rule R2).
 *
 * It holds the signed receipt and its opening, the settling transaction with its place in a final
 * block, the job's entry in a final state, and how the authority sets of both follow from earlier
 * ones. The verifier brings what it trusts: genesis, or a checkpoint.
 */

import {
  concat,
  encodeUtf8,
  fromBase64url,
  fromBigEndian,
  fromHex,
  isEqual,
  toHex,
} from './bytes.js';
import { decode } from './codec.js';
import type { Type } from './codec.js';
import { Committee, follow, verifyFinality } from './consensus.js';
import { formatAddress, hash, isValidSignature, TAG_TRANSACTION } from './crypto.js';
import { commitReceipt, computeContext, readCommitment } from './field.js';
import type { ReceiptOpening } from './field.js';
import { verifyProof } from './groth16.js';
import { asList, asObject, asText, asWhole, checkMembers, readDocument } from './json.js';
import type { Document, JsonObject } from './json.js';
import { isIncluded, isInState } from './merkle.js';
import * as records from './records.js';
import type { Job, JobSettle, JobSettled, Lease, SettlementPart, StatePart } from './records.js';
import { verifySigned } from './receipt.js';
import type { ReceiptCore } from './receipt.js';
import { Rejected } from './rejection.js';
import { loadCheckpoint, loadGenesis } from './trust.js';
import type { Trust } from './trust.js';

const FORMAT = 'aitbc-receipt-bundle/1';
const MAX_BUNDLE_BYTES = 4 * 1024 * 1024;
const MAX_PART_BYTES = 2 * 1024 * 1024;
const MAX_SUCCESSION_BYTES = 4 * 1024 * 1024 + 16_384;
const MAX_TRANSACTION_BYTES = 8_192;
const MAX_UNITS = 2 ** 40 - 1;
const MAX_TIME = 2 ** 48 - 1;
const JOB_KEY = encodeUtf8('j');

/** What is trusted: a loaded one, or the document of a genesis or checkpoint. */
export type TrustSource = Trust | { genesis: Document } | { checkpoint: Document };

/** What a bundle proves. Amounts in base units, times in milliseconds. */
export interface VerifiedReceipt {
  core: ReceiptCore;
  opening: ReceiptOpening;
  /** Of the settling transaction. */
  transactionId: string;
  blockHash: string;
  height: bigint;
  blockTime: number;
  amount: bigint;
  payout: bigint;
  refund: bigint;
  /** How many authorities signed the block's finality, of how many in its epoch. */
  signers: number;
  authorities: number;
  epoch: bigint;
}

interface Settlement {
  transactionId: Uint8Array;
  sender: Uint8Array;
  payload: JobSettle;
  event: JobSettled;
}

/**
 * Check every link of a bundle, as `client.receipts.getBundle` and `aitbc receipt export` give it.
 *
 * Throws `Rejected`, and `InvalidTrust` where what is to be trusted is no genesis or checkpoint.
 */
export function verifyReceipt(bundle: Document, trust: TrustSource): VerifiedReceipt {
  const anchor = loadTrust(trust);
  const document = readDocument(bundle, MAX_BUNDLE_BYTES);
  const parts = readBundle(document);
  const { core, publicKey } = verifySigned(asObject(document['receipt']));
  const opening = readOpening(asObject(document['opening']));
  const settled = readPart(document['settlement'], records.SettlementPart, MAX_PART_BYTES);
  const state = readPart(document['state'], records.StatePart, MAX_PART_BYTES);
  const [committee, later] = findCommittees(parts.successions, anchor, settled.header.epoch);
  verifyFinality(settled.header, settled.finality, committee);
  verifyFinality(state.header, state.finality, later);
  const settlement = checkSettlement(settled, anchor.chainId);
  checkProof(state, settlement.payload, anchor);
  checkReceipt(core, publicKey, settlement, state.job, anchor.chainId);
  checkOpening(core, opening, settlement);
  return {
    core,
    opening,
    transactionId: `tx_${toHex(settlement.transactionId)}`,
    blockHash: toHex(records.computeHeaderHash(settled.header)),
    height: settled.header.height,
    blockTime: settled.header.time,
    amount: settlement.event.amount,
    payout: settlement.event.payout,
    refund: settlement.event.refund,
    signers: settled.finality.certificate.signers.length,
    authorities: committee.size,
    epoch: committee.epoch,
  };
}

function loadTrust(trust: TrustSource): Trust {
  if ('genesis' in trust) return loadGenesis(trust.genesis);
  return 'checkpoint' in trust ? loadCheckpoint(trust.checkpoint) : trust;
}

function readBundle(document: JsonObject): { successions: string[] } {
  const needed = ['receipt', 'opening', 'settlement', 'state'];
  checkMembers(document, needed, ['successions', 'format']);
  if (document['format'] !== undefined && document['format'] !== FORMAT) {
    throw new Rejected('MALFORMED', 'another format');
  }
  asObject(document['receipt']);
  asObject(document['opening']);
  asText(document['settlement']);
  asText(document['state']);
  const successions = document['successions'] === undefined ? [] : document['successions'];
  return { successions: asList(successions).map(asText) };
}

function readOpening(members: JsonObject): ReceiptOpening {
  checkMembers(members, ['units', 'started', 'completed', 'result_hash', 'salt']);
  const readHash = (name: string): Uint8Array => {
    const data = fromHex(members[name]);
    if (data.length !== 32) throw new Rejected('MALFORMED', `${name} is not 32 bytes`);
    return data;
  };
  return {
    units: asWhole(members['units'], MAX_UNITS),
    started: asWhole(members['started'], MAX_TIME),
    completed: asWhole(members['completed'], MAX_TIME),
    resultHash: readHash('result_hash'),
    salt: readHash('salt'),
  };
}

function readPart<T>(text: unknown, kind: Type<T>, limit: number): T {
  return decode(fromBase64url(text), kind, limit);
}

/** The sets of the settlement's epoch and of the state's, which is the last one. */
function findCommittees(
  texts: readonly string[],
  anchor: Trust,
  settledEpoch: bigint,
): [Committee, Committee] {
  if (anchor.authorities.epoch > settledEpoch) {
    const detail = `the receipt is of epoch ${settledEpoch}, the set that is trusted of a later one`;
    throw new Rejected('BAD_HEADER', detail);
  }
  const successions = texts.map((text) =>
    readPart(text, records.Succession, MAX_SUCCESSION_BYTES),
  );
  const start = new Committee(anchor.chainId, anchor.authorities);
  const first = successions[0]?.header.epoch;
  if (first !== undefined && first > start.epoch) {
    const detail = `the file begins with epoch ${first}: a checkpoint of that epoch is needed`;
    throw new Rejected('BAD_HEADER', detail);
  }
  const needed = successions.filter(({ header }) => header.epoch >= start.epoch);
  const isBefore = ({ header }: records.Succession): boolean => header.epoch < settledEpoch;
  const committee = follow(start, needed.filter(isBefore));
  return [committee, follow(committee, needed.filter((each) => !isBefore(each)))];
}

/** Check that the block settled the job by this transaction. */
function checkSettlement(part: SettlementPart, chainId: Uint8Array): Settlement {
  const raw = part.transaction;
  const transaction = decode(raw, records.Transaction, MAX_TRANSACTION_BYTES);
  const message = concat(TAG_TRANSACTION, chainId, records.UnsignedTransaction.encode(transaction));
  if (!isValidSignature(transaction.sender, message, transaction.signature)) {
    throw new Rejected('BAD_SIGNATURE');
  }
  const { header, outcome } = part;
  if (!isIncluded(raw, part.transactionInclusion, header.transactionsRoot)) {
    throw new Rejected('BAD_ROOT', 'the transaction is not in the block');
  }
  const outcomeBytes = records.Outcome.encode(outcome);
  if (!isIncluded(outcomeBytes, part.outcomeInclusion, header.receiptsRoot)) {
    throw new Rejected('BAD_ROOT', 'the outcome is not in the block');
  }
  const events = outcome.events.filter(({ kind }) => kind === records.JOB_SETTLED);
  const event = events[0]?.value as JobSettled | undefined;
  const transactionId = hash(message);
  const isOfTransaction = isEqual(outcome.subject, transactionId) && outcome.code === 0n;
  if (!isOfTransaction || event === undefined || events.length !== 1) {
    throw new Rejected('BAD_ROOT', 'the outcome is not that of a settlement');
  }
  const payload = transaction.payload.value as JobSettle;
  if (
    transaction.payload.kind !== records.SETTLE ||
    !isEqual(payload.job, event.job) ||
    !isEqual(payload.receiptCommit, event.receiptCommit) ||
    payload.amount !== event.amount
  ) {
    throw new Rejected('BAD_ROOT', 'the transaction and its outcome differ');
  }
  return { transactionId, sender: transaction.sender, payload, event };
}

/** Check the proof against the terms that the state holds of the job (section P3). */
function checkProof(part: StatePart, payload: JobSettle, anchor: Trust): void {
  const { job } = part;
  const key = concat(JOB_KEY, payload.job);
  if (!isInState(key, records.Job.encode(job), part.proof, part.header.stateRoot)) {
    throw new Rejected('BAD_ROOT', 'the job is not in the state');
  }
  const { lease } = job;
  if (job.status !== records.SETTLED || lease === null) {
    throw new Rejected('BAD_ROOT', 'the job is not settled in that state');
  }
  const inputs = computePublicInputs(anchor, job, lease, payload);
  if (!verifyProof(anchor.verifyingKey, inputs, payload.proof)) throw new Rejected('BAD_PROOF');
}

function computePublicInputs(anchor: Trust, job: Job, lease: Lease, payload: JobSettle): bigint[] {
  const receiptCommit = readCommitment(payload.receiptCommit);
  return [
    readCommitment(job.jobCommit),
    readCommitment(lease.priceCommit),
    receiptCommit,
    payload.amount,
    fromBigEndian(lease.payee),
    BigInt(lease.claimedAt),
    BigInt(job.billing),
    BigInt(payload.epochTime),
    computeContext(
      anchor.chainId,
      anchor.verifyingKey.keyId,
      payload.job,
      lease.number,
      lease.payee,
      payload.receiptCommit,
    ),
  ];
}

/** Check that the settling key signed this receipt, of this job and claim. */
function checkReceipt(
  core: ReceiptCore,
  publicKey: Uint8Array,
  { sender, event }: Settlement,
  job: Job,
  chainId: Uint8Array,
): void {
  if (!isEqual(publicKey, sender)) {
    throw new Rejected('BAD_SIGNATURE', 'another key signed the receipt');
  }
  const expected: Partial<Record<keyof ReceiptCore, string | bigint>> = {
    chainId: toHex(chainId),
    receiptId: `receipt_${toHex(event.job)}`,
    jobId: `job_${toHex(event.job)}`,
    client: formatAddress(job.client),
    service: job.service,
    provider: formatAddress(event.payee),
    minerId: event.miner,
    claimNumber: event.number,
    amount: event.amount,
    receiptCommit: toHex(event.receiptCommit),
  };
  compare(core, expected, 'BAD_SIGNATURE', "the chain's");
}

/** Check that the commitment on chain opens to what the receipt says. */
function checkOpening(
  core: ReceiptCore,
  opening: ReceiptOpening,
  { payload, event }: Settlement,
): void {
  if (!isEqual(commitReceipt(opening, event.job, event.payee), payload.receiptCommit)) {
    throw new Rejected('BAD_ROOT', 'the opening is not that of the commitment');
  }
  const expected: Partial<Record<keyof ReceiptCore, string | bigint>> = {
    units: BigInt(opening.units),
    startedMs: BigInt(opening.started),
    completedMs: BigInt(opening.completed),
    startedAt: BigInt(Math.floor(opening.started / 1000)),
    completedAt: BigInt(Math.floor(opening.completed / 1000)),
    resultHash: toHex(opening.resultHash),
  };
  compare(core, expected, 'BAD_ROOT', 'the committed one');
  if (BigInt(core.units) * BigInt(core.price) !== BigInt(core.amount)) {
    throw new Rejected('BAD_ROOT', 'the amount is not units times price');
  }
}

function compare(
  core: ReceiptCore,
  expected: Partial<Record<keyof ReceiptCore, string | bigint>>,
  reason: 'BAD_SIGNATURE' | 'BAD_ROOT',
  whose: string,
): void {
  for (const [name, value] of Object.entries(expected)) {
    const given = core[name as keyof ReceiptCore];
    const comparable = typeof given === 'number' ? BigInt(given) : given;
    if (comparable !== value) throw new Rejected(reason, `the receipt's ${name} is not ${whose}`);
  }
}
