/**
 * Decides how values of the HTTP contract are translated to and from JavaScript.
 *
 * Only members that the contract describes get another name. What it leaves open is content (a
 * job's input, result or metadata) and is handed on untouched.
 */

import { SHAPES } from './build/contract.js';
import type { Operations } from './build/contract.js';
import { toCamel, toSnake } from './naming.js';

/** What is known of a value: of its members, of its list's items, of its map's values. */
export interface Shape {
  readonly of?: string;
  readonly members?: Readonly<Record<string, Shape | null>>;
  readonly items?: Shape;
  readonly values?: Shape;
}

/** What is known of a call. A shape is null where the value is content. */
export interface Operation {
  readonly answer: Shape | null;
  readonly body: Shape | null;
  /** Whether the call honours an `Idempotency-Key`. */
  readonly takesKey: boolean;
}

export type OperationKey = keyof Operations;
type Content<R> = R extends { content: { 'application/json': infer T } } ? T : never;
type Responses<K extends OperationKey> = Operations[K]['responses'];

/** What a call answers when it succeeds. */
export type Answer<K extends OperationKey> = {
  [S in keyof Responses<K>]: S extends 200 | 201 | 202 | 206 ? Content<Responses<K>[S]> : never;
}[keyof Responses<K>];

/** What a call takes as its body. */
export type Body<K extends OperationKey> = Content<NonNullable<Operations[K]['requestBody']>>;

/** What a call takes as its query. */
export type Query<K extends OperationKey> = NonNullable<Operations[K]['parameters']['query']>;

type Rename = (name: string) => string;

/** An answer as JavaScript has it. */
export function camelize(value: unknown, shape: Shape | null): unknown {
  return translate(value, shape, toCamel);
}

/** A body as the contract has it; members in snake_case already are taken too. */
export function snakify(value: unknown, shape: Shape | null): unknown {
  return translate(value, shape, toSnake);
}

/** The shape of a schema of the contract. */
export function getShape(name: string): Shape {
  return SHAPES[name] ?? {};
}

function translate(value: unknown, shape: Shape | null, rename: Rename): unknown {
  if (shape === null || typeof value !== 'object' || value === null) return value;
  if (shape.of !== undefined) return translate(value, getShape(shape.of), rename);
  if (Array.isArray(value)) {
    const { items } = shape;
    return items === undefined ? value : value.map((item) => translate(item, items, rename));
  }
  const { members, values } = shape;
  if (members === undefined && values === undefined) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      if (members === undefined) return [name, translate(inner, values ?? null, rename)];
      return [rename(name), translate(inner, members[toSnake(name)] ?? null, rename)];
    }),
  );
}
