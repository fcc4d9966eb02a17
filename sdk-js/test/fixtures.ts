/** What the tests are given: a folder of cases that Python has judged, and the address of a node. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';

function read(name: string): string {
  const value = process.env[name];
  if (value === undefined) {
    throw new Error(`${name} is not set: run the tests by .venv/bin/pytest tests/sdk_js`);
  }
  return value;
}

export function readFixture<T>(name: string): T {
  return JSON.parse(readFileSync(join(read('AITBC_TEST_FIXTURES'), name), 'utf8')) as T;
}

export const readSetting = read;
