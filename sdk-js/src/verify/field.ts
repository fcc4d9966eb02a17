/** The proof's field, its hash and the commitments made with it (sections P1 and P2). */

import { grainGenConstants, poseidon as buildPoseidon } from '@noble/curves/abstract/poseidon.js';
import { bls12_381 } from '@noble/curves/bls12-381.js';

import { fromBigEndian, toBigEndian } from './bytes.js';
import { hash, tag } from './crypto.js';
import { SETTLE } from './records.js';
import { Rejected } from './rejection.js';

const Fr = bls12_381.fields.Fr;
export const FIELD_ORDER = Fr.ORDER;
const CONTEXT_TAG = tag('aitbc/settlement-context/v1');
const FULL_ROUNDS = 8;
const permutations = new Map<number, (state: bigint[]) => bigint[]>();

/** The opening of `receipt_commit`, for a given job and payee. Times in milliseconds. */
export interface ReceiptOpening {
  units: number;
  started: number;
  completed: number;
  resultHash: Uint8Array;
  salt: Uint8Array;
}

/** Poseidon of 2 to 16 field elements: capacity element 0 first, first element out (P2.1). */
export function poseidon(inputs: readonly bigint[]): bigint {
  const width = inputs.length + 1;
  let permute = permutations.get(width);
  if (permute === undefined) {
    const options = {
      Fp: Fr,
      t: width,
      roundsFull: FULL_ROUNDS,
      roundsPartial: width <= 5 ? 56 : 57,
      sboxPower: 5,
    };
    permute = buildPoseidon({ ...options, ...grainGenConstants(options) });
    permutations.set(width, permute);
  }
  return permute([0n, ...inputs])[0] as bigint;
}

/** A 32-byte hash as a field element (P1.2). */
export function toField(digest: Uint8Array): bigint {
  return fromBigEndian(digest) % FIELD_ORDER;
}

/** A commitment's field element, in its one encoding. Throws `Rejected` (`BAD_FIELD_ELEMENT`). */
export function readCommitment(data: Uint8Array): bigint {
  const value = fromBigEndian(data);
  if (data.length !== 32 || value >= FIELD_ORDER) throw new Rejected('BAD_FIELD_ELEMENT');
  return value;
}

/** `receipt_commit` (32 bytes) for a 32-byte job id and a 20-byte payee (P2.2). */
export function commitReceipt(
  opening: ReceiptOpening,
  job: Uint8Array,
  payee: Uint8Array,
): Uint8Array {
  const value = poseidon([
    toField(job),
    fromBigEndian(payee),
    BigInt(opening.units),
    BigInt(opening.started),
    BigInt(opening.completed),
    toField(opening.resultHash),
    toField(opening.salt),
  ]);
  return toBigEndian(value, 32);
}

/** What a settlement's proof is for, so that it serves nothing else (P2.4). */
export function computeContext(
  chainId: Uint8Array,
  keyId: Uint8Array,
  job: Uint8Array,
  claimNumber: bigint,
  payee: Uint8Array,
  receiptCommit: Uint8Array,
): bigint {
  const kind = toBigEndian(BigInt(SETTLE), 2);
  const number = toBigEndian(claimNumber, 8);
  return toField(hash(CONTEXT_TAG, chainId, keyId, kind, job, number, payee, receiptCommit));
}
