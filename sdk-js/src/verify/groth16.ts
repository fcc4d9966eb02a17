/**
 * Whether a settlement's proof holds: Groth16 over BLS12-381 (sections P4 and P5).
 *
 * e(A, B) = e(alpha, beta) * e(L, gamma) * e(C, delta), with L the combination of the key's input
 * points with (1, public inputs).
 */

import { bls12_381 } from '@noble/curves/bls12-381.js';

import { concat, fromBigEndian, fromHex, isEqual, toBigEndian, toHex } from './bytes.js';
import { hash, tag } from './crypto.js';
import { FIELD_ORDER } from './field.js';
import { InvalidTrust } from './rejection.js';

const { Fp, Fp12 } = bls12_381.fields;
const G1 = bls12_381.G1.Point;
const G2 = bls12_381.G2.Point;
type PointG1 = InstanceType<typeof G1>;
type PointG2 = InstanceType<typeof G2>;

const KEY_TAG = tag('aitbc/verifying-key/bls12-381/v1');
export const PUBLIC_INPUTS = 9;
const HEAD = concat(KEY_TAG, toBigEndian(BigInt(PUBLIC_INPUTS), 2));
const COORDINATE = 48;
const G1_BYTES = COORDINATE;
const G2_BYTES = 2 * COORDINATE;
const PROOF_BYTES = 2 * G1_BYTES + G2_BYTES;
const KEY_BYTES = HEAD.length + (PUBLIC_INPUTS + 2) * G1_BYTES + 3 * G2_BYTES;
const COMPRESSED = 0x80;
const INFINITY = 0x40;
const SIGN_AND_FLAGS = 0xe0;

/** The key whose secrets are public: only a chain marked DEV may use it (P5.5). */
const DEV_KEY_ID = fromHex('25b76f7bf61a1eb2f63791e6573669b962dfc601584f23cb693871d645fe879f');

/** A verifying key that has passed every check of P5.3. */
export interface VerifyingKey {
  readonly keyId: Uint8Array;
  readonly isDev: boolean;
  readonly alpha: PointG1;
  readonly beta: PointG2;
  readonly gamma: PointG2;
  readonly delta: PointG2;
  readonly inputs: readonly PointG1[];
}

/** Read the canonical binary form of a key. Throws `InvalidTrust`. */
export function readVerifyingKey(data: Uint8Array): VerifyingKey {
  if (data.length !== KEY_BYTES || !isEqual(data.subarray(0, HEAD.length), HEAD)) {
    throw new InvalidTrust('not a verifying key of this statement');
  }
  let position = HEAD.length;
  const sizes = [G1_BYTES, G2_BYTES, G2_BYTES, G2_BYTES, ...Array(PUBLIC_INPUTS + 1).fill(G1_BYTES)];
  const [alpha, beta, gamma, delta, ...inputs] = sizes.map((size: number) => {
    position += size;
    return data.subarray(position - size, position);
  }) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, ...Uint8Array[]];
  checkDistinct(alpha, beta, gamma, delta, inputs);
  const keyId = hash(data);
  try {
    return {
      keyId,
      isDev: isEqual(keyId, DEV_KEY_ID),
      alpha: readG1(alpha),
      beta: readG2(beta),
      gamma: readG2(gamma),
      delta: readG2(delta),
      inputs: inputs.map(readG1),
    };
  } catch {
    throw new InvalidTrust('a point of the key is refused');
  }
}

/** Whether `proof` (192 bytes: A, B, C compressed) proves the nine public inputs. */
export function verifyProof(
  key: VerifyingKey,
  inputs: readonly bigint[],
  proof: Uint8Array,
): boolean {
  if (proof.length !== PROOF_BYTES || inputs.length !== PUBLIC_INPUTS) return false;
  if (inputs.some((value) => value < 0n || value >= FIELD_ORDER)) return false;
  let a: PointG1, b: PointG2, c: PointG1;
  try {
    a = readG1(proof.subarray(0, G1_BYTES));
    b = readG2(proof.subarray(G1_BYTES, G1_BYTES + G2_BYTES));
    c = readG1(proof.subarray(G1_BYTES + G2_BYTES));
  } catch {
    return false;
  }
  const combined = [1n, ...inputs].reduce(
    (sum, factor, index) => sum.add((key.inputs[index] as PointG1).multiplyUnsafe(factor)),
    G1.ZERO,
  );
  const pairs = [
    { g1: a, g2: b },
    { g1: key.alpha.negate(), g2: key.beta },
    { g1: combined.negate(), g2: key.gamma },
    { g1: c.negate(), g2: key.delta },
  ];
  // The identity pairs to one; the library asks for it to be left out.
  const product = bls12_381.pairingBatch(pairs.filter(({ g1 }) => !g1.is0()));
  return Fp12.eql(product, Fp12.ONE);
}

function readG1(data: Uint8Array): PointG1 {
  checkEncoding(data, G1_BYTES);
  const point = G1.fromBytes(data);
  point.assertValidity();
  return point;
}

function readG2(data: Uint8Array): PointG2 {
  checkEncoding(data, G2_BYTES);
  const point = G2.fromBytes(data);
  point.assertValidity();
  return point;
}

/** Refuse what is not the one compressed form of a point other than the identity (P4.2). */
function checkEncoding(data: Uint8Array, length: number): void {
  const flags = data[0] ?? 0;
  if (data.length !== length || !(flags & COMPRESSED) || flags & INFINITY) {
    throw new RangeError('not a compressed point');
  }
  const first = fromBigEndian(withoutSign(data).subarray(0, COORDINATE));
  const rest = fromBigEndian(data.subarray(COORDINATE));
  // The library reduces a coordinate instead of refusing it.
  if (first >= Fp.ORDER || rest >= Fp.ORDER) throw new RangeError('a coordinate is out of range');
}

/** Refuse a key under which anybody could forge (P5.3). */
function checkDistinct(
  alpha: Uint8Array,
  beta: Uint8Array,
  gamma: Uint8Array,
  delta: Uint8Array,
  inputs: readonly Uint8Array[],
): void {
  const g1 = G1.BASE.toBytes();
  const g2 = G2.BASE.toBytes();
  const isSame = (left: Uint8Array, right: Uint8Array): boolean =>
    isEqual(withoutSign(left), withoutSign(right));
  if (isSame(delta, gamma)) throw new InvalidTrust('delta equals gamma: anyone could forge proofs');
  if (isSame(delta, g2)) throw new InvalidTrust('the key had no second phase');
  if (!isEqual(gamma, g2)) throw new InvalidTrust('gamma is not the generator');
  if (isSame(alpha, g1) || isSame(beta, g2)) throw new InvalidTrust('the key had no first phase');
  if (new Set(inputs.map((point) => toHex(withoutSign(point)))).size !== inputs.length) {
    throw new InvalidTrust('two public inputs share a point, up to sign');
  }
}

/** A point's bytes without its flags: equal for a point and its negative. */
function withoutSign(point: Uint8Array): Uint8Array {
  const copy = point.slice();
  copy[0] = (copy[0] as number) & ~SIGN_AND_FLAGS;
  return copy;
}
