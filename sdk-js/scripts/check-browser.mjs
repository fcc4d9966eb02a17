/**
 * Runs scripts/browser-page.js in a headless Chromium, with the one-file bundle.
 *
 * The page is served from this process, at AITBC_TEST_PAGE_PORT, and posts its result back.
 * AITBC_TEST_FIXTURES names the folder of the bundles, AITBC_TEST_URL and AITBC_TEST_CLIENT_KEY a
 * node that takes calls from the page; CHROMIUM the program, where it is not `chromium`.
 */

import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

const SECONDS = 120;
const ROOT = new URL('../', import.meta.url);
const PAGE =
  '<!doctype html><meta charset="utf-8"><script type="module" src="/browser-page.js"></script>';

const { AITBC_TEST_FIXTURES, AITBC_TEST_URL, AITBC_TEST_CLIENT_KEY, AITBC_TEST_PAGE_PORT } =
  process.env;
if (AITBC_TEST_FIXTURES === undefined) throw new Error('AITBC_TEST_FIXTURES is not set');
const settings = JSON.stringify({ url: AITBC_TEST_URL, key: AITBC_TEST_CLIENT_KEY });
const script = (path) => readFile(new URL(path, ROOT));
const files = new Map([
  ['/', ['text/html', PAGE]],
  ['/browser.js', ['text/javascript', await script('dist/browser.js')]],
  ['/browser-page.js', ['text/javascript', await script('scripts/browser-page.js')]],
  ['/bundles.json', ['application/json', await readFile(join(AITBC_TEST_FIXTURES, 'bundles.json'))]],
  ['/settings.json', ['application/json', settings]],
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
await new Promise((resolve) => server.listen(Number(AITBC_TEST_PAGE_PORT), '127.0.0.1', resolve));

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
    `http://127.0.0.1:${AITBC_TEST_PAGE_PORT}/`,
  ],
  { stdio: 'ignore' },
);
const failure = new Promise((_, reject) => {
  browser.on('error', reject);
  browser.on('exit', (code) => reject(new Error(`the browser ended with ${code}`)));
});
failure.catch(() => {});

try {
  const { wrong, done } = await Promise.race([result, failure]);
  for (const line of wrong) console.error(line);
  console.log(`${wrong.length} faults in a browser; ${JSON.stringify(done)}`);
  process.exitCode = wrong.length === 0 ? 0 : 1;
} finally {
  browser.removeAllListeners('exit');
  const isGone = new Promise((resolve) => browser.once('exit', resolve));
  if (browser.kill()) await isGone;
  server.closeAllConnections();
  server.close();
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
}
