/** Signatures, hashes, proofs, keys and addresses, judged as Python judges them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CLASS_OF_CODE, CLASS_OF_STATUS, verifyJobReceipt } from '@aitbc/client';
import { fromHex, toHex } from '#verify/bytes.js';
import { formatAddress, isValidSignature, parseAddress } from '#verify/crypto.js';
import { decode } from '#verify/codec.js';
import type { Type } from '#verify/codec.js';
import { poseidon } from '#verify/field.js';
import { readVerifyingKey, verifyProof } from '#verify/groth16.js';
import * as records from '#verify/records.js';

import { readFixture } from './fixtures.js';

interface Vectors {
  signatures: { key: string; message: string; signature: string; holds: boolean }[];
  poseidon: { inputs: string[]; hash: string }[];
  key: string;
  bad_keys: Record<string, string>;
  proofs: { name: string; inputs: string[]; proof: string; holds: boolean }[];
  addresses: { bytes: string; text: string }[];
  bad_addresses: string[];
  error_codes: Record<string, string>;
  error_statuses: Record<string, string>;
  records: Record<string, string[]>;
  receipt: Record<string, unknown>;
}

const vectors = readFixture<Vectors>('vectors.json');

test('a signature holds exactly where it does for the chain', () => {
  assert.ok(vectors.signatures.length > 200);
  const wrong = vectors.signatures.filter(
    ({ key, message, signature, holds }) =>
      isValidSignature(fromHex(key), fromHex(message), fromHex(signature)) !== holds,
  );
  assert.deepEqual(wrong, []);
});

test('Poseidon is that of the circuit, for every number of inputs', () => {
  assert.ok(vectors.poseidon.length >= 15);
  for (const { inputs, hash } of vectors.poseidon) {
    assert.equal(poseidon(inputs.map(BigInt)).toString(), hash);
  }
});

test('a proof holds exactly where it does for the chain', () => {
  const key = readVerifyingKey(fromHex(vectors.key));
  for (const { name, inputs, proof, holds } of vectors.proofs) {
    assert.equal(verifyProof(key, inputs.map(BigInt), fromHex(proof)), holds, name);
  }
});

for (const [name, key] of Object.entries(vectors.bad_keys)) {
  test(`a verifying key is refused: ${name}`, () => {
    assert.throws(() => readVerifyingKey(fromHex(key)), { name: 'InvalidTrust' });
  });
}

for (const [name, encodings] of Object.entries(vectors.records)) {
  test(`the record ${name} has the bytes that it has for the chain, and no others`, () => {
    const kind = records[name as 'Outcome'];
    for (const hex of encodings) {
      const data = fromHex(hex);
      assert.equal(toHex(kind.encode(decode(data, kind, data.length))), hex);
      assert.throws(() => decode(data, kind, data.length - 1), { reason: 'TOO_LARGE' });
      for (const spoilt of [data.subarray(1), data.subarray(0, -1), Uint8Array.of(...data, 0)]) {
        assert.throws(() => decode(spoilt, kind, spoilt.length), { reason: 'MALFORMED' });
      }
    }
  });
}

test('a longer form of a number, a length or an array is refused', () => {
  for (const [hex, kind] of [
    ['cc7f', records.counter],
    ['cd00ff', records.counter],
    ['ce0000ffff', records.counter],
    ['cf00000000ffffffff', records.counter],
    ['c50020' + '00'.repeat(32), records.digest],
    ['dc0002', records.Authority],
  ] as [string, Type<unknown>][]) {
    const data = fromHex(hex);
    assert.throws(() => decode(data, kind, data.length), { reason: 'NOT_CANONICAL' }, hex);
  }
});

test('addresses have one text', () => {
  for (const { bytes, text } of vectors.addresses) {
    assert.equal(formatAddress(fromHex(bytes)), text);
    assert.equal(toHex(parseAddress(text)), bytes);
  }
  for (const text of vectors.bad_addresses) {
    assert.throws(() => parseAddress(text), { reason: 'BAD_ADDRESS' }, text);
  }
});

test('every code and status has the class that it has in Python', () => {
  const name = ([key, kind]: [string | number, { name: string }]): [string, string] => [
    String(key),
    kind.name,
  ];
  assert.deepEqual(Object.fromEntries([...CLASS_OF_CODE].map(name)), vectors.error_codes);
  assert.deepEqual(Object.fromEntries([...CLASS_OF_STATUS].map(name)), vectors.error_statuses);
});

test('a signed receipt verifies in either spelling of its members, and no other', () => {
  const { receipt } = vectors;
  const { core } = verifyJobReceipt(receipt);
  assert.equal(core.jobId, receipt['job_id']);
  const { signature, attestations } = receipt;
  const camel = { ...core, signature, attestations };
  assert.deepEqual(verifyJobReceipt(camel).core, core);
  assert.throws(() => verifyJobReceipt({ ...camel, units: 43 }), { reason: 'BAD_SIGNATURE' });
  assert.throws(() => verifyJobReceipt({ ...receipt, jobId: 'x' }), { reason: 'MALFORMED' });
  assert.throws(() => verifyJobReceipt({ ...receipt, note: 1 }), { reason: 'MALFORMED' });
  assert.throws(() => verifyJobReceipt({ ...receipt, model: 'modèle' }), { reason: 'MALFORMED' });
  assert.throws(() => verifyJobReceipt({ ...receipt, engine: 'x\n' }), { reason: 'MALFORMED' });
  assert.deepEqual(core.pins, receipt['pins']);
  for (const pins of [null, [], { seed: 7 }, { Seed: '7' }, { seed: 'é' }, { seed: 'x\n' }]) {
    assert.throws(() => verifyJobReceipt({ ...receipt, pins }), { reason: 'MALFORMED' });
  }
  for (const lie of [{ verification: 'sure' }, { energy_joules: null }, { energyJoules: -1 }]) {
    assert.throws(() => verifyJobReceipt({ ...receipt, ...lie }), { reason: 'MALFORMED' });
  }
  assert.throws(() => verifyJobReceipt({ ...receipt, pins: {} }), { reason: 'BAD_SIGNATURE' });
  assert.throws(() => verifyJobReceipt([]), { reason: 'MALFORMED' });
});
