/** Whether something is under a root: of a block's list (rule M1), or of the state (S4 to S6). */

import { concat, isEqual, toBigEndian } from './bytes.js';
import { hash } from './crypto.js';
import type { InclusionProof, StateProof } from './records.js';

const LEAF = Uint8Array.of(0x00);
const NODE = Uint8Array.of(0x01);
const ROOT = Uint8Array.of(0x02);
const STATE_LEAF = Uint8Array.of(0x10);
const STATE_NODE = Uint8Array.of(0x11);
const STATE_ROOT = Uint8Array.of(0x12);
const ARITY = 16n;
const HASH = 32;

/** Whether a leaf's content is at its index of a list of `count` under the root. */
export function isIncluded(leaf: Uint8Array, proof: InclusionProof, root: Uint8Array): boolean {
  if (proof.index >= proof.count || proof.siblings.length > 64) return false;
  let node = hash(LEAF, leaf);
  let position = proof.index;
  let used = 0;
  for (let width = proof.count; width > 1n; width = (width + 1n) >> 1n) {
    if ((position ^ 1n) < width) {
      const sibling = proof.siblings[used++];
      if (sibling === undefined) return false;
      node = position & 1n ? hash(NODE, sibling, node) : hash(NODE, node, sibling);
    }
    position >>= 1n;
  }
  const sealed = hash(ROOT, toBigEndian(proof.count, 8), node);
  return used === proof.siblings.length && isEqual(sealed, root);
}

/** Whether the entry `key` has the canonical `value` in the state under `root`. */
export function isInState(
  key: Uint8Array,
  value: Uint8Array,
  proof: StateProof,
  root: Uint8Array,
): boolean {
  if (proof.leaf >= proof.count) return false;
  let child = hash(STATE_LEAF, toBigEndian(BigInt(key.length), 2), key, value);
  let index = proof.leaf;
  let width = proof.count;
  for (const [level, node] of proof.nodes.entries()) {
    const slot = Number(index % ARITY) * HASH;
    index /= ARITY;
    const left = width - index * ARITY;
    const children = left < ARITY ? left : ARITY;
    const held = node.subarray(slot, slot + HASH);
    if (BigInt(node.length) !== children * BigInt(HASH) || !isEqual(held, child)) return false;
    child = hash(STATE_NODE, node);
    width = (width + ARITY - 1n) / ARITY;
    if (width <= 1n) {
      const sealed = hash(concat(STATE_ROOT, toBigEndian(proof.count, 8), child));
      return level + 1 === proof.nodes.length && isEqual(sealed, root);
    }
  }
  return false;
}
