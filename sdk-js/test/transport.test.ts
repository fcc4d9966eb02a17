import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import process from 'node:process';
import { test } from 'node:test';

import * as sdk from '@aitbc/client';

import { cut, hang, json, problem, serve } from './server.js';

const JOB = { job_id: 'job_1', status: 'running', phase: 'running', settlement: { escrow_base: '5' } };
const QUICK = { firstDelay: 1, longestDelay: 5 };

function connect(baseUrl: string | string[], options: sdk.ClientOptions = {}): sdk.AITBCClient {
  return new sdk.AITBCClient({ apiKey: 'aitbc_key', baseUrl, retries: QUICK, ...options });
}

/** Never called: that it compiles, with its errors where they are expected, is the test. */
export async function checkTypes(client: sdk.AITBCClient): Promise<string> {
  const job = await client.jobs.create({ type: 'ai-inference', pricing: { maxCost: '0.1' } });
  for await (const each of client.jobs.list({ status: 'completed' })) {
    const same: sdk.Job = each;
    return same.settlement.escrowBase;
  }
  // @ts-expect-error a member that the contract does not name
  await client.jobs.create({ naem: 'x' });
  // @ts-expect-error the name is in camelCase
  return job.job_id;
}

async function findClosedPort(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

test('a call carries the key, and its body and answer are translated', async () => {
  await using server = await serve(json(JOB, 201));
  const job = await connect(server.url).jobs.create({
    type: 'ai-inference',
    model: { entrypoint: 'model.py' },
    input: { someKey: { innerKey: 1 }, other_key: 2 },
    resources: { gpu: '1' },
    pricing: { maxCost: '0.10' },
    timeoutSeconds: 60,
  });
  assert.equal(job.jobId, 'job_1');
  assert.equal(job.settlement.escrowBase, '5');
  const [asked] = server.asked;
  assert.equal(asked?.method, 'POST');
  assert.equal(asked.url, '/v1/jobs');
  assert.equal(asked.headers['x-api-key'], 'aitbc_key');
  assert.deepEqual(JSON.parse(asked.body), {
    type: 'ai-inference',
    model: { entrypoint: 'model.py' },
    input: { someKey: { innerKey: 1 }, other_key: 2 },
    resources: { gpu: '1' },
    pricing: { max_cost: '0.10' },
    timeout_seconds: 60,
  });
});

test('content of an answer is handed on as it is', async () => {
  const results = { processing_time: 1, outPut: { a_b: [{ c_d: null }] } };
  await using server = await serve(json({ job_id: 'job_1', results, result: 'x', later_member: 1 }));
  const found = await connect(server.url).jobs.getResults('job_1');
  assert.deepEqual(found.results, results);
  assert.deepEqual({ ...found }, { jobId: 'job_1', results, result: 'x', laterMember: 1 });
});

test('a member called __proto__ is a member and nothing else', async () => {
  await using server = await serve((response) => response.end('{"job_id":"j","__proto__":{"x":1}}'));
  const job = await connect(server.url).jobs.get('j');
  assert.equal((job as unknown as { x?: number }).x, undefined);
  assert.equal(({} as { x?: number }).x, undefined);
});

test('a creation is repeated with the same key after a lost answer', async () => {
  await using server = await serve(cut, problem(503, 'NOT_READY'), json(JOB, 201));
  await connect(server.url).jobs.create({ prompt: 'x' });
  const keys = server.asked.map(({ headers }) => headers['idempotency-key']);
  assert.equal(keys.length, 3);
  assert.equal(new Set(keys).size, 1);
  assert.match(String(keys[0]), /^[0-9a-f]{32}$/);
  await connect(server.url).jobs.create({ prompt: 'x' }, { idempotencyKey: 'mine' });
  assert.equal(server.asked.at(-1)?.headers['idempotency-key'], 'mine');
});

test('a limiter is waited for as long as it says, but not longer than one bears', async () => {
  await using server = await serve(
    problem(429, 'RATE_LIMIT_EXCEEDED', { 'Retry-After': '1' }),
    json(JOB),
    problem(429, 'RATE_LIMIT_EXCEEDED', { 'Retry-After': '3600' }),
  );
  const client = connect(server.url);
  const started = performance.now();
  await client.jobs.get('job_1');
  assert.ok(performance.now() - started >= 990);
  await assert.rejects(client.jobs.get('job_1'), (error) => {
    assert.ok(error instanceof sdk.RateLimitError);
    return error.retryAfter === 3_600_000 && error.name === 'RateLimitError';
  });
  assert.equal(server.asked.length, 3);
});

test('a twin still running is waited for, other conflicts are not', async () => {
  await using server = await serve(
    problem(409, 'CONFLICT', { 'Retry-After': '0' }),
    json(JOB, 201),
    problem(409, 'JOB_ALREADY_COMPLETED'),
  );
  const client = connect(server.url);
  await client.jobs.create({ prompt: 'x' });
  await assert.rejects(client.jobs.cancel('job_1'), sdk.JobAlreadyCompletedError);
  assert.equal(server.asked.length, 3);
});

test('after so many attempts the error is thrown', async () => {
  await using server = await serve(problem(503, 'NOT_READY'));
  const client = connect(server.url, { retries: { ...QUICK, attempts: 3 } });
  await assert.rejects(client.jobs.get('job_1'), sdk.UnavailableError);
  assert.equal(server.asked.length, 3);
});

test('a node that is down or behind is left for the next one', async () => {
  await using behind = await serve(problem(503, 'NOT_IN_STEP'));
  await using well = await serve(json(JOB));
  const client = connect([await findClosedPort(), behind.url, `${well.url}/`]);
  for (let round = 0; round < 2; round++) assert.equal((await client.jobs.get('j')).jobId, 'job_1');
  assert.equal(behind.asked.length, 1);
  assert.equal(well.asked.length, 2);
});

test('what never left is told apart from what may have', async () => {
  const client = connect(await findClosedPort(), { retries: { ...QUICK, attempts: 2 } });
  await assert.rejects(client.jobs.get('j'), (error) => {
    return error instanceof sdk.ConnectionFailedError && !error.isSent;
  });
  await using server = await serve(cut);
  await assert.rejects(connect(server.url).miners.fail('j', { minerId: 'm', reasonCode: 22001 }));
  const sent = server.asked.length;
  assert.ok(sent === 1 || server.asked.every(({ headers }) => headers['idempotency-key']));
});

test('an answer that does not come in time is an error, and an abort is the caller’s own', async () => {
  await using server = await serve(hang);
  const client = connect(server.url, { timeout: 50, retries: { attempts: 1 } });
  await assert.rejects(client.jobs.get('j'), sdk.RequestTimeoutError);
  await assert.rejects(client.jobs.get('j', { timeout: 5 }), /no answer in 5 ms/);
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error('enough')), 20);
  const slow = connect(server.url);
  await assert.rejects(slow.jobs.get('j', { signal: controller.signal }), /enough/);
  await assert.rejects(slow.jobs.wait('j', { signal: controller.signal }), /enough/);
});

test('a redirection is not followed, what is not JSON is refused', async () => {
  await using server = await serve(
    (response) => response.writeHead(307, { Location: 'http://127.0.0.1:9/' }).end(),
    (response) => response.end('<html>'),
    (response) => response.writeHead(404).end('<html>'),
  );
  const client = connect(server.url);
  await assert.rejects(client.jobs.get('j'), sdk.InvalidAnswerError);
  await assert.rejects(client.jobs.get('j'), sdk.InvalidAnswerError);
  await assert.rejects(client.jobs.get('j'), { name: 'NotFoundError', code: 'HTTP_404' });
});

test('a problem says which members were wrong and whom to ask', async () => {
  const errors = [{ pointer: '/prompt', message: 'too long' }];
  await using server = await serve(
    json({ error_code: 'VALIDATION_ERROR', errors, request_id: 'r1' }, 422),
    json({ error: { code: 'NO_CAPABLE_MINER', message: 'none', type: 'x', param: null } }, 409),
    json({ error_code: 'NOT_IN_STEP', behind_by: 7 }, 503),
  );
  const client = connect(server.url, { retries: { attempts: 1 } });
  await assert.rejects(client.jobs.create({}), (error) => {
    assert.ok(error instanceof sdk.UnprocessableError);
    assert.deepEqual(error.errors, errors);
    return error.requestId === 'r1';
  });
  await assert.rejects(client.jobs.create({}), sdk.NoCapableMinerError);
  await assert.rejects(client.jobs.get('j'), (error) => {
    return error instanceof sdk.UnavailableError && error.behindBy === 7;
  });
});

test('names in the path are encoded and cannot step out of it', async () => {
  await using server = await serve(json(JOB));
  const client = connect(server.url);
  await client.jobs.get('a/../b?c');
  assert.equal(server.asked[0]?.url, '/v1/jobs/a%2F..%2Fb%3Fc');
  for (const name of ['.', '..', '']) {
    await assert.rejects(async () => client.jobs.get(name), TypeError);
  }
});

test('what is not given comes from the environment', async () => {
  await using server = await serve(json(JOB));
  process.env['AITBC_API_URL'] = server.url;
  process.env['AITBC_API_KEY'] = 'aitbc_from_there';
  try {
    await new sdk.AITBCClient({ retries: QUICK }).jobs.get('job_1');
  } finally {
    delete process.env['AITBC_API_URL'];
    delete process.env['AITBC_API_KEY'];
  }
  assert.equal(server.asked[0]?.headers['x-api-key'], 'aitbc_from_there');
});

test('addresses that are none are refused at once', () => {
  for (const baseUrl of ['ftp://x', 'nonsense', []]) {
    assert.throws(() => new sdk.AITBCClient({ baseUrl }), TypeError);
  }
});

test('a list is its first page when awaited, and all items when iterated', async () => {
  const pages = [
    { jobs: [{ job_id: 'a' }, { job_id: 'b' }], total: 3, next_cursor: '7' },
    { jobs: [{ job_id: 'c' }], total: 3, next_cursor: null },
  ];
  await using server = await serve(json(pages[0]), json(pages[0]), json(pages[1]));
  const client = connect(server.url);
  const page = await client.jobs.list({ status: 'completed', limit: 2 });
  assert.equal(page.total, 3);
  assert.equal(page.nextCursor, '7');
  const found: string[] = [];
  const query = { limit: 2, offset: 1 };
  for await (const job of client.jobs.list(query)) found.push(job.jobId);
  assert.deepEqual(found, ['a', 'b', 'c']);
  assert.deepEqual(
    server.asked.map(({ url }) => url),
    [
      '/v1/jobs?status=completed&limit=2',
      '/v1/jobs?limit=2&offset=1',
      '/v1/jobs?limit=2&cursor=7',
    ],
  );
});

test('a list that goes round in circles is refused', async () => {
  await using server = await serve(json({ jobs: [], next_cursor: '7' }));
  const list = connect(server.url).jobs.list();
  const iterate = async (): Promise<void> => {
    for await (const job of list) assert.fail(job.jobId);
  };
  await assert.rejects(iterate(), sdk.InvalidAnswerError);
});

for (const status of ['completed', 'failed', 'cancelled']) {
  test(`waiting ends when a job is ${status}`, async () => {
    await using server = await serve(json(JOB), json({ ...JOB, status, fault: 'network', reason_code: 31001 }));
    const client = connect(server.url);
    const ended = await client.jobs.wait('job_1', { until: 'final' });
    assert.equal(ended.status, status);
    if (status === 'completed') assert.equal((await client.jobs.wait('job_1')).status, status);
    else {
      await assert.rejects(client.jobs.wait('job_1'), (error) => {
        return error instanceof sdk.JobFailedError && /network \(reason 31001\)/.test(error.message);
      });
    }
  });
}

test('waiting ends with its time', async () => {
  await using server = await serve(json(JOB));
  await assert.rejects(
    connect(server.url).jobs.wait('job_1', { timeout: 1 }),
    sdk.WaitTimeoutError,
  );
});
