/**
 * The chain's one canonical encoding: MessagePack arrays, read strictly (docs/protocol/encoding.md).
 *
 * A reader takes nothing but the shortest form of each value, so what it accepts is canonical
 * (rule E2), and every bound belongs to the type (E3). Integers are `bigint` where they can be over
 * 2^53, `number` elsewhere.
 */

import { concat, decodeUtf8, encodeUtf8, toBigEndian } from './bytes.js';
import { Rejected } from './rejection.js';

/** How one kind of value is written and read. Both throw `Rejected` for what is out of bounds. */
export interface Type<T> {
  encode(value: T): Uint8Array;
  read(reader: Reader): T;
}

export type Infer<K> = K extends Type<infer T> ? T : never;

/** A place in bytes from outside. Lengths inside them are never trusted for an allocation. */
export class Reader {
  private position = 0;

  constructor(private readonly data: Uint8Array) {}

  get isAtEnd(): boolean {
    return this.position === this.data.length;
  }

  get left(): number {
    return this.data.length - this.position;
  }

  peek(): number {
    const byte = this.data[this.position];
    if (byte === undefined) throw new Rejected('MALFORMED', 'the bytes end too early');
    return byte;
  }

  take(length: number): Uint8Array {
    if (length > this.left) throw new Rejected('MALFORMED', 'the bytes end too early');
    this.position += length;
    return this.data.subarray(this.position - length, this.position);
  }

  takeByte(): number {
    return this.take(1)[0] as number;
  }

  /** A number of 1, 2, 4 or 8 bytes that needs that many. */
  takeNumber(bytes: number, least: bigint): bigint {
    let value = 0n;
    for (const byte of this.take(bytes)) value = (value << 8n) | BigInt(byte);
    if (value < least) throw new Rejected('NOT_CANONICAL', 'a longer form of a number or length');
    return value;
  }
}

/** The value that `data` encodes canonically, at most `limit` bytes of it. Throws `Rejected`. */
export function decode<T>(data: Uint8Array, kind: Type<T>, limit: number): T {
  if (data.length > limit) {
    throw new Rejected('TOO_LARGE', `${data.length} bytes, the limit is ${limit}`);
  }
  const reader = new Reader(data);
  const value = kind.read(reader);
  if (!reader.isAtEnd) throw new Rejected('MALFORMED', 'bytes after the record');
  return value;
}

/** A whole number within bounds, as `bigint`. */
export function wide(least: bigint, most: bigint): Type<bigint> {
  const check = (value: bigint): bigint => {
    if (typeof value !== 'bigint' || value < least || value > most) {
      throw new Rejected('MALFORMED', `a number is not from ${least} to ${most}`);
    }
    return value;
  };
  return {
    encode: (value) => encodeNumber(check(value)),
    read: (reader) => check(readNumber(reader)),
  };
}

/** A whole number within bounds that a `number` holds exactly. */
export function whole(least: number, most: number): Type<number> {
  const inner = wide(BigInt(least), BigInt(most));
  return {
    encode(value) {
      if (!Number.isSafeInteger(value)) throw new Rejected('MALFORMED', 'not a whole number');
      return inner.encode(BigInt(value));
    },
    read: (reader) => Number(inner.read(reader)),
  };
}

/** Bytes of a length within bounds. */
export function binary(least: number, most: number = least): Type<Uint8Array> {
  const check = (data: Uint8Array): Uint8Array => {
    if (!(data instanceof Uint8Array) || data.length < least || data.length > most) {
      throw new Rejected('MALFORMED', `not ${least} to ${most} bytes`);
    }
    return data;
  };
  return {
    encode(data) {
      return concat(encodeLength(check(data).length, [0xc4, 0xc5, 0xc6]), data);
    },
    read(reader) {
      const length = readLength(reader, [0xc4, 0xc5, 0xc6], null);
      return check(reader.take(length).slice());
    },
  };
}

/** A text that a pattern describes. */
export function text(pattern: RegExp): Type<string> {
  const check = (value: string): string => {
    if (typeof value !== 'string' || !pattern.test(value)) {
      throw new Rejected('MALFORMED', 'a text is not of the form that it must have');
    }
    return value;
  };
  return {
    encode(value) {
      const data = encodeUtf8(check(value));
      const head =
        data.length < 32
          ? Uint8Array.of(0xa0 | data.length)
          : encodeLength(data.length, [0xd9, 0xda, 0xdb]);
      return concat(head, data);
    },
    read(reader) {
      const length = readLength(reader, [0xd9, 0xda, 0xdb], { first: 0xa0, count: 32 });
      return check(decodeUtf8(reader.take(length)));
    },
  };
}

export const bool: Type<boolean> = {
  encode: (value) => Uint8Array.of(value ? 0xc3 : 0xc2),
  read(reader) {
    const byte = reader.takeByte();
    if (byte !== 0xc2 && byte !== 0xc3) throw new Rejected('MALFORMED', 'not true or false');
    return byte === 0xc3;
  },
};

/** A value or nothing. */
export function optional<T>(kind: Type<T>): Type<T | null> {
  return {
    encode: (value) => (value === null ? Uint8Array.of(0xc0) : kind.encode(value)),
    read(reader) {
      if (reader.peek() !== 0xc0) return kind.read(reader);
      reader.takeByte();
      return null;
    },
  };
}

/** So many values of one kind. */
export function list<T>(kind: Type<T>, least = 0, most = Number.MAX_SAFE_INTEGER): Type<T[]> {
  const check = (count: number): void => {
    if (count < least || count > most) throw new Rejected('MALFORMED', 'too few or too many');
  };
  return {
    encode(values) {
      check(values.length);
      return concat(encodeCount(values.length), ...values.map((value) => kind.encode(value)));
    },
    read(reader) {
      const count = readCount(reader);
      check(count);
      return Array.from({ length: count }, () => kind.read(reader));
    },
  };
}


/** An array of named fields in order, with the number of a union's member before them. */
export interface RecordType<T> extends Type<T> {
  readonly tag: number | null;
  readFields(reader: Reader, count: number): T;
}

export function record<F extends { [name: string]: Type<any> }>(
  fields: F,
  tag: number | null = null,
): RecordType<{ [K in keyof F]: Infer<F[K]> }> {
  const entries = Object.entries(fields);
  const readFields = (reader: Reader, count: number): any => {
    if (count !== entries.length) throw new Rejected('MALFORMED', 'another number of fields');
    return Object.fromEntries(entries.map(([name, kind]) => [name, kind.read(reader)]));
  };
  return {
    tag,
    readFields,
    encode(value) {
      const parts = entries.map(([name, kind]) => kind.encode(value[name]));
      if (tag !== null) parts.unshift(encodeNumber(BigInt(tag)));
      return concat(encodeCount(parts.length), ...parts);
    },
    read(reader) {
      const count = readCount(reader);
      if (tag === null) return readFields(reader, count);
      if (readTag(reader, count) !== tag) throw new Rejected('MALFORMED', 'another kind of record');
      return readFields(reader, count - 1);
    },
  };
}

/** One of several records, told apart by their numbers; `kind` is the number of the one it is. */
export function union<M extends readonly RecordType<any>[]>(
  ...members: M
): Type<{ kind: number; value: Infer<M[number]> }> {
  const byTag = new Map(members.map((member) => [member.tag, member]));
  const find = (tag: number): RecordType<any> => {
    const member = byTag.get(tag);
    if (member === undefined) throw new Rejected('MALFORMED', `there is no record ${tag} here`);
    return member;
  };
  return {
    encode: ({ kind, value }) => find(kind).encode(value),
    read(reader) {
      const count = readCount(reader);
      const kind = readTag(reader, count);
      return { kind, value: find(kind).readFields(reader, count - 1) };
    },
  };
}

export function encodeNumber(value: bigint): Uint8Array {
  if (value < 0x80n) return Uint8Array.of(Number(value));
  if (value < 0x100n) return Uint8Array.of(0xcc, Number(value));
  if (value < 0x10000n) return concat(Uint8Array.of(0xcd), toBigEndian(value, 2));
  if (value < 0x100000000n) return concat(Uint8Array.of(0xce), toBigEndian(value, 4));
  return concat(Uint8Array.of(0xcf), toBigEndian(value, 8));
}

/** The head of an array of so many values. */
export function encodeCount(count: number): Uint8Array {
  if (count < 16) return Uint8Array.of(0x90 | count);
  if (count < 0x10000) return concat(Uint8Array.of(0xdc), toBigEndian(BigInt(count), 2));
  return concat(Uint8Array.of(0xdd), toBigEndian(BigInt(count), 4));
}

function readNumber(reader: Reader): bigint {
  const byte = reader.takeByte();
  if (byte < 0x80) return BigInt(byte);
  if (byte === 0xcc) return reader.takeNumber(1, 0x80n);
  if (byte === 0xcd) return reader.takeNumber(2, 0x100n);
  if (byte === 0xce) return reader.takeNumber(4, 0x10000n);
  if (byte === 0xcf) return reader.takeNumber(8, 0x100000000n);
  throw new Rejected('MALFORMED', 'not a non-negative whole number');
}

function readCount(reader: Reader): number {
  const byte = reader.takeByte();
  let count: number;
  if (byte >= 0x90 && byte < 0xa0) count = byte & 0x0f;
  else if (byte === 0xdc) count = Number(reader.takeNumber(2, 16n));
  else if (byte === 0xdd) count = Number(reader.takeNumber(4, 0x10000n));
  else throw new Rejected('MALFORMED', 'not an array');
  // Every value has at least one byte.
  if (count > reader.left) throw new Rejected('MALFORMED', 'the bytes end too early');
  return count;
}

function readTag(reader: Reader, count: number): number {
  if (count === 0) throw new Rejected('MALFORMED', 'a record without its number');
  return Number(readNumber(reader));
}

type Heads = readonly [number, number, number];

function encodeLength(length: number, heads: Heads): Uint8Array {
  if (length < 0x100) return Uint8Array.of(heads[0], length);
  if (length < 0x10000) return concat(Uint8Array.of(heads[1]), toBigEndian(BigInt(length), 2));
  return concat(Uint8Array.of(heads[2]), toBigEndian(BigInt(length), 4));
}

function readLength(
  reader: Reader,
  heads: Heads,
  short: { first: number; count: number } | null,
): number {
  const byte = reader.takeByte();
  if (short !== null && byte >= short.first && byte < short.first + short.count) {
    return byte - short.first;
  }
  const least = short === null ? 0n : BigInt(short.count);
  if (byte === heads[0]) return Number(reader.takeNumber(1, least));
  if (byte === heads[1]) return Number(reader.takeNumber(2, 0x100n));
  if (byte === heads[2]) return Number(reader.takeNumber(4, 0x10000n));
  throw new Rejected('MALFORMED', 'another kind of value');
}
