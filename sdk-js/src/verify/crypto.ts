/** Hashing, addresses and the one signature rule (rules L2 to L4 and E5 of docs/protocol). */

import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256, sha512 } from '@noble/hashes/sha2.js';

import { concat, encodeUtf8, fromLittleEndian, isEqual } from './bytes.js';
import { Rejected } from './rejection.js';

const Point = ed25519.Point;
const ORDER = Point.Fn.ORDER;
const LETTERS = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l';
const PREFIX = 'ait';
const BECH32M = 0x2bc830a3;

/** The tag of a hashed or signed thing: its name and a zero byte. */
export function tag(name: string): Uint8Array {
  return concat(encodeUtf8(name), Uint8Array.of(0));
}

export const TAG_TRANSACTION = tag('aitbc/transaction/1');
export const TAG_HEADER = tag('aitbc/header/1');
export const TAG_GENESIS = tag('aitbc/genesis/1');
export const TAG_AUTHORITIES = tag('aitbc/authorities/1');
export const TAG_VOTE = tag('aitbc/vote/1');

export function hash(...parts: Uint8Array[]): Uint8Array {
  return sha256(concat(...parts));
}

/**
 * Whether an Ed25519 signature holds under the chain's strict rule: canonical S, key and
 * commitment in canonical form, the key in the prime-order subgroup, the cofactorless equation.
 */
export function isValidSignature(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (signature.length !== 64) return false;
  const key = readPublicKey(publicKey);
  const s = fromLittleEndian(signature.subarray(32));
  if (key === null || s >= ORDER) return false;
  const commitment = signature.subarray(0, 32);
  const challenge = fromLittleEndian(sha512(concat(commitment, publicKey, message))) % ORDER;
  const expected = Point.BASE.multiplyUnsafe(s).subtract(key.multiplyUnsafe(challenge));
  // Comparing encodings is the cofactorless equation, and refuses every other form of R at once.
  return !expected.is0() && isEqual(expected.toBytes(), commitment);
}

/** Whether 32 bytes are a canonical point of the prime-order subgroup. */
export function isValidPublicKey(publicKey: Uint8Array): boolean {
  return readPublicKey(publicKey) !== null;
}

function readPublicKey(publicKey: Uint8Array): InstanceType<typeof Point> | null {
  if (publicKey.length !== 32) return null;
  try {
    const point = Point.fromBytes(publicKey);
    return !point.is0() && point.isTorsionFree() ? point : null;
  } catch {
    return null;
  }
}

/** An address as people write it: bech32m with the prefix `ait` (BIP-350). */
export function formatAddress(address: Uint8Array): string {
  const words = regroup(address, 8, 5);
  const values = [...expandPrefix(), ...words];
  const checksum = computeChecksum([...values, 0, 0, 0, 0, 0, 0]) ^ BECH32M;
  const tail = [25, 20, 15, 10, 5, 0].map((shift) => (checksum >>> shift) & 31);
  return `${PREFIX}1${[...words, ...tail].map((word) => LETTERS[word]).join('')}`;
}

/** The 20 bytes of a written address, lower case only. Throws `Rejected` (`BAD_ADDRESS`). */
export function parseAddress(text: unknown): Uint8Array {
  if (typeof text === 'string' && text.startsWith(`${PREFIX}1`) && text.length < 90) {
    const words = [...text.slice(PREFIX.length + 1, -6)].map((letter) => LETTERS.indexOf(letter));
    const address = Uint8Array.from(regroup(words, 5, 8)).slice(0, 20);
    // Writing it again checks the letters, the padding and the checksum.
    if (address.length === 20 && formatAddress(address) === text) return address;
  }
  throw new Rejected('BAD_ADDRESS', 'an address is bech32m with the prefix ait1');
}

/** Groups of `from` bits as groups of `to` bits; what is left over is padded with zeros. */
function regroup(groups: ArrayLike<number>, from: number, to: number): number[] {
  const result: number[] = [];
  let held = 0;
  let bits = 0;
  for (const group of Array.from(groups)) {
    held = ((held << from) | (group & ((1 << from) - 1))) & 0xfff;
    bits += from;
    while (bits >= to) {
      bits -= to;
      result.push((held >> bits) & ((1 << to) - 1));
    }
  }
  if (to < from && bits > 0) result.push((held << (to - bits)) & ((1 << to) - 1));
  return result;
}

function expandPrefix(): number[] {
  const codes = [...PREFIX].map((letter) => letter.charCodeAt(0));
  return [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31)];
}

function computeChecksum(values: number[]): number {
  const generators = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
  let checksum = 1;
  for (const value of values) {
    const top = checksum >>> 25;
    checksum = ((checksum & 0x1ffffff) << 5) ^ value;
    generators.forEach((generator, index) => {
      if ((top >>> index) & 1) checksum ^= generator;
    });
  }
  return checksum;
}
