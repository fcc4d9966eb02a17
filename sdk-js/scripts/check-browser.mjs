/**
 * Runs the cases of test/bundles.test.ts in a headless Chromium, with the one-file bundle.
 *
 * The page is served from this process and posts its verdicts back. AITBC_TEST_FIXTURES names the
 * folder of the cases; CHROMIUM the program, where it is not `chromium`.
 */

import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

const SECONDS = 120;
const ROOT = new URL('../', import.meta.url);
const PAGE = `<!doctype html><meta charset="utf-8"><script type="module">
import { loadCheckpoint, Rejected, verifyReceipt } from '/browser.js';

async function check() {
  const fixture = await (await fetch('/bundles.json')).json();
  const trusted = new Map(
    Object.entries(fixture.checkpoints).map(([name, text]) => [name, loadCheckpoint(text)]),
  );
  const wrong = [];
  const started = performance.now();
  for (const { name, bundle, trust, reason } of fixture.cases) {
    let found = null;
    try {
      verifyReceipt(bundle, trusted.get(trust));
    } catch (error) {
      found = error instanceof Rejected ? error.reason : String(error);
    }
    if (found !== reason) wrong.push(name + ': ' + found + ' instead of ' + reason);
  }
  const milliseconds = Math.round(performance.now() - started);
  return { count: fixture.cases.length, wrong, milliseconds, agent: navigator.userAgent };
}

check()
  .catch((error) => ({ count: 0, wrong: [String(error)] }))
  .then((result) => fetch('/result', { method: 'POST', body: JSON.stringify(result) }));
</script>`;

const folder = process.env.AITBC_TEST_FIXTURES;
if (folder === undefined) throw new Error('AITBC_TEST_FIXTURES is not set');
const files = new Map([
  ['/', ['text/html', PAGE]],
  ['/browser.js', ['text/javascript', await readFile(new URL('dist/browser.js', ROOT))]],
  ['/bundles.json', ['application/json', await readFile(join(folder, 'bundles.json'))]],
]);

let report;
const result = new Promise((resolve, reject) => {
  report = resolve;
  setTimeout(() => reject(new Error(`no result in ${SECONDS} s`)), 1000 * SECONDS).unref();
});

const server = createServer(async (request, response) => {
  if (request.method === 'POST' && request.url === '/result') {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    response.end();
    report(JSON.parse(Buffer.concat(chunks).toString()));
    return;
  }
  const [type, content] = files.get(request.url) ?? [];
  response.writeHead(content === undefined ? 404 : 200, { 'Content-Type': type ?? 'text/plain' });
  response.end(content);
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

const profile = await mkdtemp(join(tmpdir(), 'aitbc-browser-'));
const browser = spawn(
  process.env.CHROMIUM ?? 'chromium',
  [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    `--user-data-dir=${profile}`,
    `http://127.0.0.1:${server.address().port}/`,
  ],
  { stdio: 'ignore' },
);
const failure = new Promise((_, reject) => {
  browser.on('error', reject);
  browser.on('exit', (code) => reject(new Error(`the browser ended with ${code}`)));
});
failure.catch(() => {});

try {
  const { count, wrong, milliseconds, agent } = await Promise.race([result, failure]);
  for (const line of wrong) console.error(line);
  console.log(`${count} bundles in ${milliseconds} ms, ${wrong.length} wrong verdicts (${agent})`);
  process.exitCode = count > 0 && wrong.length === 0 ? 0 : 1;
} finally {
  browser.removeAllListeners('exit');
  const isGone = new Promise((resolve) => browser.once('exit', resolve));
  if (browser.kill()) await isGone;
  server.closeAllConnections();
  server.close();
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
}
