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
  'device',
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
const OPTIONAL_NUMBERS = ['energy_joules'] as const;
const CLASSES = ['exact', 'tolerance', 'logit_gap', 'none'] as const;
const MAX_PINS = 16;
const MAX_PIN_CHARACTERS = 200;
const UNSIGNED = ['signature', 'attestations'];
const VERSION = 1;

/** How a result can be checked later by running the job again. */
export type Verification = (typeof CLASSES)[number];

type Pins = { [name: string]: string };
type Core = { [K in (typeof TEXTS)[number]]: string } & {
  [K in (typeof NUMBERS)[number]]: number;
} & { [K in (typeof OPTIONAL_NUMBERS)[number]]?: number } & {
  verification: Verification;
  pins: Pins;
};

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
  /** Engine and build that ran the job. */
  engine: string;
  /** What it ran on; empty where the miner did not say. */
  device: string;
  /** The class of the job's service. */
  verification: Verification;
  /** What has to be the same for another run to be comparable; the names as they were signed. */
  pins: { [name: string]: string };
  inputHash: string;
  resultHash: string;
  /** Seconds since the Unix epoch, rounded down. */
  startedAt: number;
  completedAt: number;
  startedMs: number;
  completedMs: number;
  receiptCommit: string;
  /** What the device's own counter counted; absent where there is none. */
  energyJoules?: number;
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
  return encodeUtf8(encodeCanonical({ version: VERSION, ...core }));
}

function encodeCanonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
  const parts = members.map(([name, held]) => `${JSON.stringify(name)}:${encodeCanonical(held)}`);
  return `{${parts.join(',')}}`;
}

function readCore(document: JsonObject): Core {
  const needed = [...TEXTS, ...NUMBERS, 'verification', 'pins'];
  checkMembers(document, needed, ['version', ...OPTIONAL_NUMBERS, ...UNSIGNED]);
  const { version } = document;
  if (version !== undefined && version !== VERSION) {
    throw new Rejected('MALFORMED', 'another version of receipts');
  }
  return Object.fromEntries([
    ...TEXTS.map((name) => [name, asPlainText(document[name])]),
    ...NUMBERS.map((name) => [name, asWhole(document[name])]),
    ...OPTIONAL_NUMBERS.filter((name) => Object.hasOwn(document, name)).map((name) => [
      name,
      asWhole(document[name]),
    ]),
    ['verification', asClass(document['verification'])],
    ['pins', readPins(document['pins'])],
  ]) as Core;
}

function asClass(value: unknown): Verification {
  const found = CLASSES.find((name) => name === value);
  if (found === undefined) throw new Rejected('MALFORMED', 'no class of verification');
  return found;
}

function readPins(value: unknown): Pins {
  const members = Object.entries(asObject(value));
  if (members.length > MAX_PINS) throw new Rejected('MALFORMED', 'too many pins');
  for (const [name, text] of members) {
    if (!/^[a-z][a-z0-9_]{0,31}$/.test(name) || asPlainText(text).length > MAX_PIN_CHARACTERS) {
      throw new Rejected('MALFORMED', 'a pin has a name and a text of printable ASCII');
    }
  }
  return Object.fromEntries(members) as Pins;
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
