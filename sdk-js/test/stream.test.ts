/** A job's events from a server that breaks off, begins anew or says what is no event. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  AITBCClient,
  ConnectionFailedError,
  InvalidAnswerError,
  JobNotFoundError,
} from '@aitbc/client';
import type { JobEvent, StreamOptions } from '@aitbc/client';

import { problem, serve } from './server.js';
import type { Reply } from './server.js';

const STAGE = '{"job_id":"j","status":"running","phase":"running","progress":1}';
const DONE = 'event: done\nid: 4\ndata: {"job_id":"j","status":"completed"}\n\n';

/** Send these chunks, each on its own, and end; `cut` ends without an end. */
function stream(...chunks: (string | Uint8Array)[]): Reply {
  return async (response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    for (const chunk of chunks) {
      if (chunk === 'cut') return response.destroy();
      response.write(chunk);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return response.end();
  };
}

async function read(url: string, options: StreamOptions = {}): Promise<JobEvent[]> {
  const retries = { attempts: 3, firstDelay: 1, longestDelay: 2 };
  const client = new AITBCClient({ baseUrl: url, retries });
  const found: JobEvent[] = [];
  for await (const event of client.jobs.stream('j', options)) found.push(event);
  return found;
}

test('events come as they are, however the bytes are cut', async () => {
  const text = new TextEncoder().encode(
    `: beat\n\nevent: status\r\nid: 0\r\ndata: ${STAGE}\r\n\r\nevent: new kind\nid: 1\ndata: 1\n\n` +
      `event: delta\nid: 4\ndata: {"delta":\ndata: "Grü😀"}\n\n${DONE}`,
  );
  const bytes = Array.from(text, (byte) => Uint8Array.of(byte));
  for (const chunks of [[text], bytes]) {
    await using server = await serve(stream(...chunks));
    assert.deepEqual(await read(server.url), [
      {
        type: 'status',
        offset: 0,
        data: { jobId: 'j', status: 'running', phase: 'running', progress: 1 },
      },
      { type: 'delta', offset: 4, data: { delta: 'Grü😀' } },
      { type: 'done', offset: 4, data: { jobId: 'j', status: 'completed' } },
    ]);
  }
});

test('a stream that breaks is taken up again where it was', async () => {
  const delta = (id: number, piece: string): string =>
    `event: delta\nid: ${id}\ndata: {"delta":"${piece}"}\n\n`;
  await using server = await serve(
    stream(delta(2, 'ab'), 'event: delta\nid: 3\nda', 'cut'),
    stream(delta(3, 'c')),
    problem(503, 'NOT_READY'),
    stream('event: reset\nid: 0\ndata: {}\n\n', 'cut'),
    stream(delta(4, 'wxyz'), DONE),
  );
  const found = await read(server.url, { offset: 0 });
  assert.deepEqual(
    found.map(({ type, offset }) => `${type} ${offset}`),
    ['delta 2', 'delta 3', 'reset 0', 'delta 4', 'done 4'],
  );
  assert.deepEqual(
    server.asked.map(({ url }) => url.split('?')[1]),
    ['offset=0', 'offset=2', 'offset=3', 'offset=3', 'offset=0'],
  );
});

test('what never gets on is given up, a refusal is thrown at once', async () => {
  await using empty = await serve(stream());
  await assert.rejects(read(empty.url), ConnectionFailedError);
  assert.equal(empty.asked.length, 3);
  await using refusing = await serve(problem(404, 'JOB_NOT_FOUND'));
  await assert.rejects(read(refusing.url), JobNotFoundError);
  assert.equal(refusing.asked.length, 1);
});

for (const [name, event] of Object.entries({
  'no JSON': 'event: delta\nid: 1\ndata: {\n\n',
  'no id': 'event: delta\ndata: {}\n\n',
  'an id that is no number': 'event: delta\nid: x\ndata: {}\n\n',
  'no end': `data: ${'x'.repeat(5 * 1024 * 1024)}`,
})) {
  test(`an event with ${name} is refused`, async () => {
    await using server = await serve(stream(event));
    await assert.rejects(read(server.url), InvalidAnswerError);
  });
}

test('an abort is the caller’s own', async () => {
  await using server = await serve((response) => response.writeHead(200).write(': beat\n\n'));
  const signal = AbortSignal.timeout(50);
  await assert.rejects(read(server.url, { signal }), { name: 'TimeoutError' });
  assert.equal(server.asked.length, 1);
});
