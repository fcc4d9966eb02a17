/** The signed receipt: what a miner's registered key signed, checked with no network (rule R1). */

import { encodeUtf8, fromBase64url } from './bytes.js';
import { isValidSignature } from './crypto.js';
import { toCamel, toSnake } from '../naming.js';
import { asObject, asText, asWhole, checkMembers } from './json.js';
import type { JsonObject } from './json.js';
import { Rejected } from './rejection.js';

const TEXTS = [
  'chain_id',
  'receipt_id',
  'job_id',
  'provider',
  'miner_id',
  'client',
  'service',
  'unit_type',
  'model',
  'engine',
  'input_hash',
  'result_hash',
  'receipt_commit',
] as const;
const NUMBERS = [
  'claim_number',
  'units',
  'price',
  'amount',
  'started_at',
  'completed_at',
  'started_ms',
  'completed_ms',
] as const;
const UNSIGNED = ['signature', 'attestations'];
const VERSION = 1;

type Core = { [K in (typeof TEXTS)[number]]: string } & { [K in (typeof NUMBERS)[number]]: number };

/** What the miner signed. Money in base units; hashes, ids and commitments in lower-case hex. */
export interface ReceiptCore {
  version: number;
  chainId: string;
  receiptId: string;
  jobId: string;
  /** The payee's address. */
  provider: string;
  minerId: string;
  claimNumber: number;
  client: string;
  service: string;
  units: number;
  unitType: string;
  /** Base units per unit. */
  price: number;
  amount: number;
  model: string;
  /** Engine, build and device that ran the job. */
  engine: string;
  inputHash: string;
  resultHash: string;
  /** Seconds since the Unix epoch, rounded down. */
  startedAt: number;
  completedAt: number;
  startedMs: number;
  completedMs: number;
  receiptCommit: string;
}

/** A receipt whose signature holds. */
export interface VerifiedJobReceipt {
  core: ReceiptCore;
  /** The Ed25519 key that signed it (32 bytes). */
  publicKey: Uint8Array;
}

/**
 * Check a signed receipt: as the API sends it, or as `client.jobs.getReceipt` gives it.
 *
 * It shows that the key signed exactly this, not whose key it is: `verifyReceipt` does.
 * Throws `Rejected` (`MALFORMED`, `BAD_SIGNATURE`).
 */
export function verifyJobReceipt(receipt: object): VerifiedJobReceipt {
  const document = respell(asObject(receipt));
  const { signature } = document;
  if (typeof signature === 'object' && signature !== null) {
    document['signature'] = respell(asObject(signature));
  }
  return verifySigned(document);
}

/** Check a signed receipt in the spelling of the contract. Throws `Rejected`. */
export function verifySigned(document: JsonObject): VerifiedJobReceipt {
  const core = readCore(document);
  const signature = asObject(document['signature']);
  const keyText = signature['key_id'];
  if (signature['alg'] !== 'Ed25519' || signature['public_key'] !== keyText) {
    throw new Rejected('MALFORMED', 'the signature is not Ed25519 by the key that it names');
  }
  const publicKey = fromBase64url(keyText);
  const signed = fromBase64url(signature['sig']);
  if (!isValidSignature(publicKey, encodeCore(core), signed)) {
    throw new Rejected('BAD_SIGNATURE', "the receipt's signature does not hold");
  }
  return { core: camelizeCore(core), publicKey };
}

/** The exact bytes that are signed: canonical JSON (RFC 8785), keys in order and no spaces. */
function encodeCore(core: Core): Uint8Array {
  const members: JsonObject = { version: VERSION, ...core };
  const names = Object.keys(members).sort();
  const parts = names.map((name) => `${JSON.stringify(name)}:${JSON.stringify(members[name])}`);
  return encodeUtf8(`{${parts.join(',')}}`);
}

function readCore(document: JsonObject): Core {
  checkMembers(document, [...TEXTS, ...NUMBERS], ['version', ...UNSIGNED]);
  const { version } = document;
  if (version !== undefined && version !== VERSION) {
    throw new Rejected('MALFORMED', 'another version of receipts');
  }
  return Object.fromEntries([
    ...TEXTS.map((name) => [name, asPlainText(document[name])]),
    ...NUMBERS.map((name) => [name, asWhole(document[name])]),
  ]) as Core;
}

/** Printable ASCII: what every writer of JSON writes alike, those that escape all else too. */
function asPlainText(value: unknown): string {
  const text = asText(value);
  if (!/^[ -~]*$/.test(text)) throw new Rejected('MALFORMED', 'a text is not printable ASCII');
  return text;
}

function camelizeCore(core: Core): ReceiptCore {
  const members = Object.entries(core).map(([name, value]) => [toCamel(name), value]);
  return { version: VERSION, ...Object.fromEntries(members) } as ReceiptCore;
}

/** The members in the spelling of the contract; one that is there in both is refused. */
function respell(object: JsonObject): JsonObject {
  const members = Object.entries(object).map(([name, value]) => [toSnake(name), value] as const);
  if (new Set(members.map(([name]) => name)).size !== members.length) {
    throw new Rejected('MALFORMED', 'a member is there twice');
  }
  return Object.fromEntries(members);
}
