/** What scripts/check-browser.mjs runs in the page: every bundle judged, then a node called. */

import {
  AITBCClient,
  InsufficientBalanceError,
  loadCheckpoint,
  Rejected,
  verifyReceipt,
} from '/browser.js';

const wrong = [];
const done = {};

async function read(path) {
  return (await fetch(path)).json();
}

async function judgeBundles() {
  const fixture = await read('/bundles.json');
  const trusted = new Map(
    Object.entries(fixture.checkpoints).map(([name, text]) => [name, loadCheckpoint(text)]),
  );
  const started = performance.now();
  for (const { name, bundle, trust, reason } of fixture.cases) {
    let found = null;
    try {
      verifyReceipt(bundle, trusted.get(trust));
    } catch (error) {
      found = error instanceof Rejected ? error.reason : String(error);
    }
    if (found !== reason) wrong.push(`${name}: ${found} instead of ${reason}`);
  }
  done.bundles = fixture.cases.length;
  done.milliseconds = Math.round(performance.now() - started);
}

async function callNode() {
  const { url, key } = await read('/settings.json');
  const client = new AITBCClient({ baseUrl: url, apiKey: key });
  const updates = await client.live.subscribe({ types: ['job_update'] });
  const job = await client.jobs.create({ prompt: 'from a page', maxCost: '0.01' });
  await client.jobs.cancel(job.jobId);
  const ended = await client.jobs.wait(job.jobId, { until: 'final', timeout: 30_000 });
  if (ended.status !== 'cancelled') wrong.push(`the job is ${ended.status}`);
  done.updates = 0;
  for await (const { data } of updates) {
    if (data.jobId !== job.jobId) wrong.push('an update of another job');
    done.updates += 1;
    if (data.status === 'cancelled') break;
  }
  const file = await client.files.upload(new Blob(['text']), 'note.txt');
  const text = new TextDecoder().decode(await client.files.download(file.fileId));
  if (text !== 'text') wrong.push(`the file holds ${text}`);
  const refused = await client.jobs
    .create({ prompt: 'x', maxCost: '5000000' })
    .catch((error) => error);
  if (!(refused instanceof InsufficientBalanceError)) wrong.push(`not refused: ${refused}`);
  const nobody = new AITBCClient({ baseUrl: url, apiKey: 'aitbc_nobody' });
  const { closeCode } = await nobody.live.subscribe().catch((error) => error);
  if (closeCode !== 4401) wrong.push(`a bad key closes with ${closeCode}`);
}

try {
  await judgeBundles();
  await callNode();
} catch (error) {
  wrong.push(`${error} ${error.stack}`);
}
await fetch('/result', { method: 'POST', body: JSON.stringify({ wrong, done }) });
