/** Live updates from a server that breaks off, stays silent or refuses. */

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';

import { AITBCClient, InvalidAnswerError, SocketClosedError } from '@aitbc/client';
import type { LiveUpdate, Subscription } from '@aitbc/client';
import { WebSocketServer } from 'ws';
import type { WebSocket } from 'ws';

type Said = Record<string, unknown>;
type Visit = (socket: WebSocket, said: Said, number: number) => void;

interface LiveServer extends AsyncDisposable {
  client: AITBCClient;
  /** What every socket said, in order. */
  said: Said[];
}

/** A server that takes any key, and does `visit` after each subscription. */
async function serve(visit: Visit): Promise<LiveServer> {
  const http = createServer();
  const server = new WebSocketServer({ server: http, path: '/ws' });
  const said: Said[] = [];
  let number = 0;
  server.on('connection', (socket) => {
    const own = ++number;
    socket.on('message', (data) => {
      const message = JSON.parse(String(data)) as Said;
      said.push(message);
      if (message['type'] === 'authenticate') {
        send(socket, 'authenticated', 0, { account: 'ait1', role: 'client' });
        send(socket, 'subscribed', 0, { types: [], job_ids: null });
        send(socket, 'block_created', 0, { height: 1 });
      } else if (message['type'] === 'subscribe') {
        send(socket, 'subscribed', Number(message['since'] ?? 10), {});
        visit(socket, message, own);
      }
    });
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const { port } = http.address() as AddressInfo;
  return {
    client: new AITBCClient({
      apiKey: 'k',
      baseUrl: `http://127.0.0.1:${port}`,
      retries: { attempts: 3, firstDelay: 1, longestDelay: 5 },
    }),
    said,
    async [Symbol.asyncDispose]() {
      for (const socket of server.clients) socket.terminate();
      server.close();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

function send(socket: WebSocket, type: string, seq: number, data: object): void {
  socket.send(JSON.stringify({ type, seq, data }));
}

function sendJob(socket: WebSocket, seq: number): void {
  send(socket, 'job_update', seq, { job_id: `job_${seq}`, reason_code: null });
}

async function take(subscription: Subscription, count: number): Promise<LiveUpdate[]> {
  const found: LiveUpdate[] = [];
  for await (const update of subscription) {
    found.push(update);
    if (found.length === count) break;
  }
  return found;
}

test('updates come in camelCase, after the subscription that was asked for', async () => {
  await using server = await serve((socket) => {
    sendJob(socket, 11);
    send(socket, 'unknown_type', 12, {});
    send(socket, 'gap', 13, { since: 1, oldest: 5, reason: 'expired' });
  });
  const wish = { types: ['job_update'] as const, jobIds: ['job_11'] };
  const found = await take(await server.client.live.subscribe(wish), 2);
  assert.deepEqual(found, [
    { type: 'job_update', seq: 11, data: { jobId: 'job_11', reasonCode: null } },
    { type: 'gap', seq: 13, data: { since: 1, oldest: 5, reason: 'expired' } },
  ]);
  assert.deepEqual(server.said, [
    { type: 'authenticate', api_key: 'k' },
    { type: 'subscribe', types: ['job_update'], job_ids: ['job_11'] },
  ]);
});

test('a connection that breaks is taken up again behind the last update', async () => {
  await using server = await serve((socket, said, number) => {
    sendJob(socket, Number(said['since'] ?? 10) + 1);
    if (number < 4) setTimeout(() => (number % 2 ? socket.terminate() : socket.close(1001)), 5);
  });
  const found = await take(await server.client.live.subscribe(), 4);
  assert.deepEqual(found.map(({ seq }) => seq), [11, 12, 13, 14]);
  const wishes = server.said.filter(({ type }) => type === 'subscribe');
  assert.deepEqual(wishes.map(({ since }) => since), [undefined, 11, 12, 13]);
});

test('a server that does nothing but break off is given up', async () => {
  await using server = await serve((socket) => socket.close(1011));
  await assert.rejects(take(await server.client.live.subscribe(), 1), SocketClosedError);
  assert.equal(server.said.filter(({ type }) => type === 'subscribe').length, 3);
});

test('with since, the first subscription begins there', async () => {
  await using server = await serve((socket) => sendJob(socket, 6));
  await take(await server.client.live.subscribe({ since: 5 }), 1);
  assert.equal(server.said.at(-1)?.['since'], 5);
});

test('a refusal is thrown, not tried again', async () => {
  await using server = await serve((socket) => socket.close(4403, 'the API key was revoked'));
  const subscription = await server.client.live.subscribe();
  await assert.rejects(take(subscription, 1), (error) => {
    return error instanceof SocketClosedError && error.closeCode === 4403;
  });
  assert.equal(server.said.length, 2);
});

test('what is no message is refused', async () => {
  await using server = await serve((socket) => socket.send('{"type":1}'));
  await assert.rejects(take(await server.client.live.subscribe(), 1), InvalidAnswerError);
});

test('an abort is the caller’s own, a close ends quietly', async () => {
  await using server = await serve(() => {});
  const controller = new AbortController();
  const subscription = await server.client.live.subscribe({ signal: controller.signal });
  setTimeout(() => controller.abort(new Error('enough')), 5);
  await assert.rejects(take(subscription, 1), /enough/);
  await assert.rejects(server.client.live.subscribe({ signal: controller.signal }), /enough/);
  const other = await server.client.live.subscribe();
  setTimeout(() => other.close(), 5);
  assert.deepEqual(await take(other, 1), []);
});

test('who reads slowly loses nothing', async () => {
  const count = 25_000;
  await using server = await serve((socket, said) => {
    for (let seq = Number(said['since'] ?? 0) + 1; seq <= count; seq++) sendJob(socket, seq);
  });
  const subscription = await server.client.live.subscribe({ since: 0 });
  await new Promise((resolve) => setTimeout(resolve, 500));
  const found = await take(subscription, count);
  assert.deepEqual(found.map(({ seq }) => seq), Array.from({ length: count }, (_, n) => n + 1));
  assert.ok(server.said.filter(({ type }) => type === 'subscribe').length > 1);
});

test('where nobody answers, the subscription fails', async () => {
  const retries = { attempts: 2, firstDelay: 1 };
  const client = new AITBCClient({ baseUrl: 'http://127.0.0.1:9', retries });
  await assert.rejects(client.live.subscribe(), SocketClosedError);
});
