/** The verifier in JavaScript gives the verdict of the one in Python on every bundle. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { loadCheckpoint, loadGenesis, Rejected, verifyReceipt } from '@aitbc/client';
import type { Trust } from '@aitbc/client';

import { readFixture } from './fixtures.js';

interface Case {
  name: string;
  bundle: string;
  trust: string;
  reason: string | null;
  proven: Record<string, unknown> | null;
}

interface Fixture {
  cases: Case[];
  checkpoints: Record<string, string>;
  genesis: Record<string, string>;
  chain_ids: Record<string, string>;
}

const fixture = readFixture<Fixture>('bundles.json');
const trusted: Record<string, Trust> = Object.fromEntries(
  Object.entries(fixture.checkpoints).map(([name, text]) => [name, loadCheckpoint(text)]),
);

function judge(each: Case): { reason: string | null; proven: unknown } {
  try {
    const proven = verifyReceipt(each.bundle, trusted[each.trust] as Trust);
    return {
      reason: null,
      proven: {
        jobId: proven.core.jobId,
        units: proven.opening.units,
        transactionId: proven.transactionId,
        blockHash: proven.blockHash,
        height: String(proven.height),
        blockTime: proven.blockTime,
        amount: String(proven.amount),
        signers: proven.signers,
        authorities: proven.authorities,
        epoch: String(proven.epoch),
      },
    };
  } catch (error) {
    if (!(error instanceof Rejected)) throw error;
    return { reason: error.reason, proven: null };
  }
}

test('there are true bundles and many that are not', () => {
  const accepted = fixture.cases.filter((each) => each.reason === null).length;
  assert.ok(accepted >= 10 && fixture.cases.length - accepted >= 200);
});

for (const each of fixture.cases) {
  test(`${each.name} (${each.trust}): ${each.reason ?? 'accepted'}`, () => {
    assert.deepEqual(judge(each), { reason: each.reason, proven: each.proven });
  });
}

test('a genesis document names its chain and is trusted like the set it holds', () => {
  for (const [name, text] of Object.entries(fixture.genesis)) {
    const trust = loadGenesis(text);
    assert.equal(Buffer.from(trust.chainId).toString('hex'), fixture.chain_ids[name]);
    assert.deepEqual(trust.authorities, (trusted[name] as Trust).authorities);
  }
});

test('a bundle may come as bytes or parsed, trust as a document', () => {
  const { bundle } = fixture.cases[0] as Case;
  const trust = { genesis: fixture.genesis['genesis'] as string };
  const expected = verifyReceipt(bundle, trust);
  assert.deepEqual(verifyReceipt(new TextEncoder().encode(bundle), trust), expected);
  assert.deepEqual(verifyReceipt(JSON.parse(bundle), trust), expected);
  assert.throws(() => verifyReceipt(Uint8Array.of(0xff), trust), { reason: 'MALFORMED' });
});
