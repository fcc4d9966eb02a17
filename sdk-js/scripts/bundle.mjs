/** Makes dist/browser.js: the whole package in one module, for pages without a bundler. */

import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

await build({
  absWorkingDir: ROOT,
  entryPoints: ['dist/index.js'],
  outfile: 'dist/browser.js',
  bundle: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  minify: true,
  keepNames: true, // errors are told apart by name in logs
  external: ['ws'], // only Node before 22 asks for it
  legalComments: 'eof',
  logLevel: 'warning',
});
