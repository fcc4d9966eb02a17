/** The client reaches the whole contract: each operation of a node, but for those named here. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const ROOT = new URL('../../', import.meta.url);

/** What is in the contract and has no method of its own, and why. */
const ELSEWHERE: [string, RegExp][] = [
  ['one’s own job in other words', /^(POST .*\/cancel|GET \/v1\/jobs\/\{jobId\}\/(result|receipts))$/],
  [
    'the node’s own state, for its operator and what watches it',
    /^GET \/(docs.*|redoc|health|v1\/health|livez|readyz|metrics)$/,
  ],
  ['an operator’s', /^\w+ \/v1\/(api-keys.*|audit\/log)$/],
  ['the explorer as bare arrays: the pages have the same', /^GET \/explorer\//],
  ['the explorer’s search in a page: the bare one has the same', /^GET \/v1\/explorer\/search$/],
  [
    'the protocol of the deployed network’s workers',
    /^POST \/v1\/miners\/(heartbeat|poll|\{jobId\}\/(result|fail))$/,
  ],
  [
    'OpenAI’s clients',
    /^\w+ \/v1\/(chat|completions|embeddings|audio\/transcriptions|images|models)\b/,
  ],
  ['a miner’s process alone', /^(POST .*\/stream|\w+ \/v1\/jobs\/\{jobId\}\/files.*)$/],
];

test('every operation has a method, or a reason to have none', () => {
  const contract = readFileSync(new URL('src/build/contract.ts', ROOT), 'utf8');
  const operations = [...contract.matchAll(/^ {2}'(\w+ \/[^']*)':/gm)].map(([, key]) => key as string);
  assert.ok(operations.length > 60);
  const folder = new URL('src/resources/', ROOT);
  const sources = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), 'utf8'));
  const missing = operations.filter(
    (key) =>
      !sources.some((source) => source.includes(`('${key}'`)) &&
      !ELSEWHERE.some(([, pattern]) => pattern.test(key)),
  );
  assert.deepEqual(missing, []);
});
