/** Bytes and their texts. Every reader here is strict: one text for the same bytes. */

import { Rejected } from './rejection.js';

const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const ENCODER = new TextEncoder();
const LOWER_HEX = /^(?:[0-9a-f]{2})*$/;
const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const SEXTETS = new Map([...BASE64URL].map((letter, value) => [letter.charCodeAt(0), value]));

export function encodeUtf8(text: string): Uint8Array {
  return ENCODER.encode(text);
}

/** The text of well-formed UTF-8. Throws `Rejected` (`MALFORMED`). */
export function decodeUtf8(data: Uint8Array): string {
  try {
    return DECODER.decode(data);
  } catch {
    throw new Rejected('MALFORMED', 'not UTF-8');
  }
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let position = 0;
  for (const part of parts) {
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}

export function isEqual(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index]);
}

export function toHex(data: Uint8Array): string {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The bytes of lower-case hex. Throws `Rejected` (`MALFORMED`). */
export function fromHex(text: unknown): Uint8Array {
  if (typeof text !== 'string' || !LOWER_HEX.test(text)) {
    throw new Rejected('MALFORMED', 'not lower-case hex');
  }
  return Uint8Array.from({ length: text.length / 2 }, (_, index) =>
    Number.parseInt(text.slice(2 * index, 2 * index + 2), 16),
  );
}

/** The bytes of canonical base64url without padding. Throws `Rejected` (`MALFORMED`). */
export function fromBase64url(text: unknown): Uint8Array {
  if (typeof text !== 'string' || text.length % 4 === 1) {
    throw new Rejected('MALFORMED', 'not canonical base64url');
  }
  const data = new Uint8Array(Math.floor((text.length * 3) / 4));
  let bits = 0;
  let held = 0;
  let position = 0;
  for (let index = 0; index < text.length; index++) {
    const sextet = SEXTETS.get(text.charCodeAt(index));
    if (sextet === undefined) throw new Rejected('MALFORMED', 'not canonical base64url');
    held = ((held << 6) | sextet) & 0xfff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      data[position++] = (held >> bits) & 0xff;
    }
  }
  if ((held & ((1 << bits) - 1)) !== 0) throw new Rejected('MALFORMED', 'not canonical base64url');
  return data;
}

/** A number in `length` bytes, the most significant first. */
export function toBigEndian(value: bigint, length: number): Uint8Array {
  const data = new Uint8Array(length);
  for (let index = length - 1; index >= 0; index--) {
    data[index] = Number(value & 0xffn);
    value >>= 8n;
  }
  return data;
}

export function fromBigEndian(data: Uint8Array): bigint {
  return data.length === 0 ? 0n : BigInt(`0x${toHex(data)}`);
}

export function fromLittleEndian(data: Uint8Array): bigint {
  return fromBigEndian(Uint8Array.from(data).reverse());
}
