/** Against a true node: a job from escrow to settlement, and its receipt verified offline. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  AITBCClient,
  AuthenticationError,
  InsufficientBalanceError,
  JobAlreadyCompletedError,
  JobFailedError,
  JobNotCompletedError,
  JobNotFoundError,
  OfferNotAvailableError,
  Rejected,
  UnprocessableError,
  verifyJobReceipt,
  verifyReceipt,
} from '@aitbc/client';

import { readSetting } from './fixtures.js';

const baseUrl = readSetting('AITBC_TEST_URL');
const client = new AITBCClient({ baseUrl, apiKey: readSetting('AITBC_TEST_CLIENT_KEY') });
const miner = new AITBCClient({ baseUrl, apiKey: readSetting('AITBC_TEST_MINER_KEY') });
const stranger = new AITBCClient({ baseUrl });
const MINER_ID = 'js_miner';

async function register(): Promise<void> {
  await miner.miners.register({ minerId: MINER_ID, capabilities: ['llm_inference'] });
  while ((await miner.miners.get(MINER_ID)).status !== 'active') {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Do the next job as its miner does, with this result. */
async function work(result: Record<string, unknown>): Promise<void> {
  const job = await miner.miners.getAvailableJob(MINER_ID, 10);
  assert.ok(job !== null);
  const { content } = await miner.miners.claim(job.jobId, { minerId: MINER_ID });
  assert.ok(content !== null);
  await miner.miners.sendHeartbeat(job.jobId, { minerId: MINER_ID, progress: 50 });
  await miner.miners.complete(job.jobId, { minerId: MINER_ID, result, units: 3 });
}

test('a job, its results and its receipt', async () => {
  await register();
  // The first lines are the documented example.
  const job = await client.jobs.create({
    name: 'my-job',
    type: 'ai-inference',
    input: { prompt: 'Hello', camelCase: { snake_case: 1 } },
    pricing: { maxCost: '0.10' },
  });
  assert.match(job.jobId, /^job_[0-9a-f]{64}$/);
  assert.equal(job.estimatedCostBase, '100000000');
  await assert.rejects(client.jobs.getResults(job.jobId), JobNotCompletedError);
  const [done] = await Promise.all([
    client.jobs.wait(job.jobId, { timeout: 30_000 }),
    work({ text: 'Hi', finishReason: 'stop', token_count: 3 }),
  ]);
  assert.equal(done.status, 'completed');
  assert.equal(done.minerId, MINER_ID);
  const results = await client.jobs.getResults(job.jobId);
  assert.deepEqual(results.results, { text: 'Hi', finishReason: 'stop', token_count: 3 });
  const bytes = await client.jobs.download(job.jobId);
  assert.deepEqual(JSON.parse(new TextDecoder().decode(bytes)), results.results);
  await assert.rejects(client.jobs.cancel(job.jobId), JobAlreadyCompletedError);

  const signed = await client.jobs.getReceipt(job.jobId);
  const { core } = verifyJobReceipt(signed as object);
  assert.equal(core.jobId, job.jobId);
  const receipt = await client.receipts.get(job.jobId);
  assert.equal(receipt.units, 3);
  assert.equal((await stranger.receipts.verify(receipt)).valid, true);

  const trust = { genesis: await stranger.chain.getGenesis() };
  const bundle = await client.receipts.getBundle(receipt.receiptId);
  const proven = verifyReceipt(bundle, trust);
  assert.equal(proven.core.jobId, job.jobId);
  assert.equal(proven.amount, BigInt(core.amount));
  assert.equal(proven.transactionId, receipt.tx);
  const text = new TextDecoder().decode(bundle).replace('"units":3', '"units":4');
  assert.throws(() => verifyReceipt(text, trust), Rejected);

  const earnings = [];
  for await (const earning of miner.miners.listEarnings(MINER_ID)) earnings.push(earning);
  assert.equal(earnings.length, 1);
  assert.equal((await miner.miners.getStats(MINER_ID)).totalJobs, 1);
});

test('a text is heard while it grows', async () => {
  const job = await client.jobs.create({ prompt: 'stream', maxCost: '0.01' });
  const heard: string[] = [];
  const listening = (async () => {
    for await (const event of client.jobs.stream(job.jobId)) {
      if (event.type === 'delta') heard.push(event.data.delta);
      if (event.type === 'done') return event.data;
    }
    return null;
  })();
  const offered = await miner.miners.getAvailableJob(MINER_ID, 10);
  assert.equal(offered?.jobId, job.jobId);
  await miner.miners.claim(job.jobId, { minerId: MINER_ID });
  const pieces = ['Grüße ', '😀 ', 'end'];
  const lines = pieces.map((delta) => `${JSON.stringify({ delta, progress: 9 })}\n`);
  const answer = await fetch(`${baseUrl}/v1/jobs/${job.jobId}/stream?miner_id=${MINER_ID}`, {
    method: 'POST',
    headers: {
      'X-Api-Key': readSetting('AITBC_TEST_MINER_KEY'),
      'Content-Type': 'application/x-ndjson',
    },
    body: lines.join(''),
  });
  assert.equal(answer.status, 200);
  const text = pieces.join('');
  await miner.miners.complete(job.jobId, { minerId: MINER_ID, result: { text }, units: 3 });
  assert.deepEqual((await listening)?.status, 'completed');
  assert.equal(heard.join(''), text);
  const rest: string[] = [];
  for await (const event of client.jobs.stream(job.jobId, { offset: 6 })) {
    if (event.type === 'delta') rest.push(event.data.delta);
  }
  assert.deepEqual(rest, ['😀 end']);
});

test('webhooks are made, shown, rotated and deleted', async () => {
  const made = await client.webhooks.create({
    url: 'https://hooks.example/x',
    events: ['job_update'],
  });
  assert.match(made.secret, /^whsec_/);
  const { webhookId } = made;
  assert.equal((await client.webhooks.get(webhookId)).status, 'active');
  assert.notEqual((await client.webhooks.rotate(webhookId)).secret, made.secret);
  const found: string[] = [];
  for await (const each of client.webhooks.list({ limit: 1 })) found.push(each.webhookId);
  assert.deepEqual(found, [webhookId]);
  const sent = await client.webhooks.test(webhookId);
  const [delivery] = (await client.webhooks.listDeliveries(webhookId)).deliveries;
  assert.equal(delivery?.deliveryId, sent.deliveryId);
  await client.webhooks.redeliver(webhookId, sent.deliveryId);
  await client.webhooks.delete(webhookId);
  await assert.rejects(client.webhooks.get(webhookId), { code: 'WEBHOOK_NOT_FOUND' });
});

test('updates tell of a job, its receipt and the blocks', async () => {
  const before = await client.live.subscribe({ types: ['job_update', 'receipt_created'] });
  const blocks = await client.live.subscribe({ types: ['block_created'] });
  const job = await client.jobs.create({ prompt: 'live', maxCost: '0.01' });
  await work({ text: 'Hi' });
  const seqs: number[] = [];
  for await (const update of before) {
    assert.ok(update.type === 'job_update' || update.type === 'receipt_created');
    assert.equal(update.data.jobId, job.jobId);
    seqs.push(update.seq);
    if (update.type === 'receipt_created') assert.equal(update.data.minerId, MINER_ID);
    if (update.type === 'job_update' && update.data.status === 'completed') break;
  }
  for await (const { type, data } of blocks) {
    if (type !== 'block_created') continue;
    assert.equal((await stranger.explorer.getBlock(data.hash)).height, data.height);
    break;
  }
  const since = seqs[0] as number;
  const again = await client.live.subscribe({ since, jobIds: [job.jobId] });
  for await (const { seq } of again) {
    assert.ok(seq > since);
    break;
  }
  const refused = new AITBCClient({ baseUrl, apiKey: 'aitbc_nobody' });
  await assert.rejects(refused.live.subscribe(), { name: 'SocketClosedError', closeCode: 4401 });
});

test('a job that is cancelled ends the waiting', async () => {
  const job = await client.jobs.create({ prompt: 'never', maxCost: '0.01' });
  const waiting = client.jobs.wait(job.jobId, { timeout: 30_000 });
  const cancelling = client.jobs.cancel(job.jobId);
  await Promise.all([cancelling, assert.rejects(waiting, JobFailedError)]);
  assert.equal((await client.jobs.wait(job.jobId, { until: 'final' })).status, 'cancelled');
});

test('one key makes one job, another body under it is refused', async () => {
  const options = { idempotencyKey: 'once' };
  const first = await client.jobs.create({ prompt: 'a', maxCost: '0.01' }, options);
  const second = await client.jobs.create({ prompt: 'a', maxCost: '0.01' }, options);
  assert.equal(second.jobId, first.jobId);
  await assert.rejects(client.jobs.create({ prompt: 'b' }, options), UnprocessableError);
  await client.jobs.cancel(first.jobId);
});

test('lists come page by page', async () => {
  const all: string[] = [];
  for await (const job of client.jobs.list({ limit: 1 })) all.push(job.jobId);
  const page = await client.jobs.list({ limit: 100 });
  assert.deepEqual(all, page.jobs.map((job) => job.jobId));
  assert.equal(page.total, all.length);
  const blocks: number[] = [];
  for await (const block of stranger.explorer.listBlocks({ limit: 2 })) blocks.push(block.height);
  assert.deepEqual(blocks, Array.from(blocks, (_, index) => (blocks[0] as number) - index));
  assert.equal(blocks.at(-1), 0);
});

test('refusals are the errors that they are documented to be', async () => {
  await assert.rejects(stranger.jobs.list(), AuthenticationError);
  await assert.rejects(client.jobs.get(`job_${'00'.repeat(32)}`), JobNotFoundError);
  await assert.rejects(
    client.jobs.create({ prompt: 'x', maxCost: '5000000' }),
    InsufficientBalanceError,
  );
  await assert.rejects(client.jobs.create({ prompt: 'x', maxCost: 'much' }), (error) => {
    assert.ok(error instanceof UnprocessableError);
    return error.errors.some(({ pointer }) => pointer === '/max_cost');
  });
});

test('files are stored, read and deleted', async () => {
  const content = new TextEncoder().encode('some text');
  const file = await client.files.upload(content, 'note.txt');
  assert.equal(file.size, content.length);
  assert.deepEqual(await client.files.download(file.fileId), content);
  const names: string[] = [];
  for await (const { fileId } of client.files.list({ limit: 1 })) names.push(fileId);
  assert.deepEqual(names, [file.fileId]);
  await client.files.delete(file.fileId);
});

test('services make jobs, the registry says what they take', async () => {
  const job = await client.services.infer({ prompt: 'Hi', maxTokens: 4, maxCost: '0.01' });
  assert.equal(job.service, 'llm_inference');
  await client.jobs.cancel(job.jobId);
  const { services } = await stranger.registry.list({ search: 'whisper' });
  const [service] = services;
  assert.equal(service?.serviceId, 'whisper_transcription');
  assert.equal((await stranger.registry.get(service.serviceId)).unitType, service.unitType);
  assert.equal((await stranger.registry.getRequirements(service.serviceId)).needsGpu, false);
  const schema = (await stranger.registry.getSchema(service.serviceId)) as { properties: object };
  assert.ok('audio_url' in schema.properties);
  const valid = await stranger.registry.validate('llm_inference', { prompt: 'x', max_tokens: 4 });
  assert.equal(valid.valid, true);
  const wrong = await stranger.registry.validate('llm_inference', { prompt: 'x', max_tokens: -1 });
  assert.deepEqual(wrong.errors.map(({ pointer }) => pointer), ['/max_tokens']);
});

test('an offer is made, accepted for a job, and withdrawn', async () => {
  const made = await miner.marketplace.createOffer({
    minerId: MINER_ID,
    jobType: 'llm_inference',
    price: '0.000001',
    maxJobs: 2,
    requirements: { minCpu: '1000m' },
  });
  const { offerId } = made;
  const until = async (status: string): Promise<void> => {
    while ((await stranger.marketplace.getOffer(offerId)).status !== status) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  await until('active');
  const listed: string[] = [];
  for await (const offer of stranger.marketplace.listOffers({ jobType: 'llm_inference' })) {
    listed.push(offer.offerId);
  }
  assert.ok(listed.includes(offerId));
  const [first] = (await stranger.explorer.listOffers()).items;
  assert.equal(first?.offerId, offerId);
  assert.equal((await stranger.explorer.getOffer(offerId)).minerId, MINER_ID);
  const job = await client.jobs.create({ prompt: 'bid', maxCost: '0.1' });
  const taken = await client.marketplace.acceptOffer(offerId, { jobId: job.jobId, bidPrice: '1' });
  assert.equal(taken.minerId, MINER_ID);
  await client.jobs.cancel(job.jobId);
  await miner.marketplace.cancelOffer(offerId);
  await until('cancelled');
  const late = client.marketplace.acceptOffer(offerId, { jobId: job.jobId });
  await assert.rejects(late, OfferNotAvailableError);
  assert.ok((await stranger.marketplace.getStats()).totalJobs >= 1);
});

test('the chain is there for everybody', async () => {
  const status = await stranger.chain.getStatus();
  assert.equal(status.chainId.length, 64);
  const account = await stranger.accounts.get(readSetting('AITBC_TEST_ADDRESS'));
  assert.ok(BigInt(account.balanceBase) > 0n);
  assert.equal((await stranger.chain.auditSupply()).balanced, true);
  const stats = await stranger.explorer.getStats();
  assert.ok(stats.blockHeight > 0);
});
