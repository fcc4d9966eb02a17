/** JSON from outside, read strictly: known members only, whole numbers only where one is meant. */

import { decodeUtf8, encodeUtf8 } from './bytes.js';
import { Rejected } from './rejection.js';

export type JsonObject = { [name: string]: unknown };

/** A JSON document: its text, the bytes of it, or what `JSON.parse` made of it. */
export type Document = string | Uint8Array | object;

/** The object in a document of at most `limit` bytes. Throws `Rejected` (`TOO_LARGE`, `MALFORMED`). */
export function readDocument(document: Document, limit: number): JsonObject {
  if (typeof document !== 'string' && !(document instanceof Uint8Array)) return asObject(document);
  const size = typeof document === 'string' ? encodeUtf8(document).length : document.length;
  if (size > limit) throw new Rejected('TOO_LARGE', `the limit is ${limit} bytes`);
  const text = typeof document === 'string' ? document : decodeUtf8(document);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Rejected('MALFORMED', 'not JSON');
  }
  return asObject(value);
}

export function asObject(value: unknown): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Rejected('MALFORMED', 'an object is expected');
  }
  return value as JsonObject;
}

export function asList(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw new Rejected('MALFORMED', 'a list is expected');
  return value;
}

export function asText(value: unknown): string {
  if (typeof value !== 'string' || !value.isWellFormed()) {
    throw new Rejected('MALFORMED', 'a text is expected');
  }
  return value;
}

export function asBoolean(value: unknown): boolean {
  if (typeof value !== 'boolean') throw new Rejected('MALFORMED', 'true or false is expected');
  return value;
}

/** A whole number from 0 to `most`, which a `number` holds exactly. */
export function asWhole(value: unknown, most: number = Number.MAX_SAFE_INTEGER): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0 || (value as number) > most) {
    throw new Rejected('MALFORMED', `a whole number from 0 to ${most} is expected`);
  }
  return value as number;
}

/** Refuse members that are missing or unknown. */
export function checkMembers(
  object: JsonObject,
  needed: readonly string[],
  optional: readonly string[] = [],
): void {
  for (const name of needed) {
    if (!Object.hasOwn(object, name)) throw new Rejected('MALFORMED', `${name} is missing`);
  }
  for (const name of Object.keys(object)) {
    if (!needed.includes(name) && !optional.includes(name)) {
      throw new Rejected('MALFORMED', `there is no member ${name}`);
    }
  }
}
