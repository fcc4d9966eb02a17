/** Decides how one call reaches the API: headers, limits, retries, and which of several nodes. */

import { OPERATIONS } from './build/contract.js';
import { camelize, snakify } from './contract.js';
import type { Answer, Body, OperationKey, Query } from './contract.js';
import {
  AITBCError,
  APIError,
  buildApiError,
  ConnectionFailedError,
  InvalidAnswerError,
  RequestTimeoutError,
} from './errors.js';
import { toSnake } from './naming.js';

/** The largest JSON answer that is read. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** The largest file or result that is read into memory. */
const MAX_DOWNLOAD_BYTES = 512 * 1024 * 1024;

const RETRIED_STATUSES = new Set([408, 425, 429, 502, 503, 504]);
const FAILOVER_STATUSES = new Set([502, 504]);
/** The node is behind the chain, or a proxy in front of it has none; other 503s ask for patience. */
const FAILOVER_CODES = new Set(['NOT_IN_STEP', 'HTTP_503']);
/** Reasons of Node for a request that never left. Browsers name none. */
const UNSENT_CODES = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);
const KEY_BYTES = 16;

/** How often, and after how long, a call is sent again. Times in milliseconds. */
export interface RetryPolicy {
  readonly attempts: number;
  readonly firstDelay: number;
  readonly longestDelay: number;
  /** A server that asks for more than this is not waited for: the error is thrown. */
  readonly longestRetryAfter: number;
}

export const DEFAULT_RETRIES: RetryPolicy = {
  attempts: 5,
  firstDelay: 200,
  longestDelay: 8_000,
  longestRetryAfter: 60_000,
};

/** What every call takes. Times in milliseconds. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** How long one attempt may take, from its beginning to the last byte of its answer. */
  readonly timeout?: number | undefined;
  /** For a call that makes or spends something; without one it gets one of its own. */
  readonly idempotencyKey?: string | undefined;
}

export interface TransportSettings {
  readonly urls: readonly string[];
  readonly apiKey: string | null;
  readonly timeout: number;
  readonly retries: RetryPolicy;
  readonly fetch: typeof fetch;
}

type Parameters = Readonly<Record<string, string | number>>;

/** One request of the contract, before it is written. */
export interface Request<K extends OperationKey> extends CallOptions {
  readonly path?: Parameters;
  readonly query?: Partial<Query<K>> | Record<string, unknown>;
  readonly body?: Body<K> | FormData;
  /** Sending it twice does what sending it once does, though it is a POST without a key. */
  readonly isRepeatable?: boolean;
}

/** A request as it is sent, to whichever address. */
interface Written {
  readonly method: string;
  readonly target: string;
  readonly headers: Record<string, string>;
  readonly body: string | FormData | undefined;
  readonly isRepeatable: boolean;
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
}

/** Sends calls to the nodes that it was given, the one in use first. */
export class Transport {
  private index = 0;

  constructor(private readonly settings: TransportSettings) {
    if (settings.urls.length === 0) throw new TypeError('at least one API address is needed');
    for (const url of settings.urls) {
      if (!/^https?:$/.test(new URL(url).protocol)) {
        throw new TypeError(`not an http(s) address: ${url}`);
      }
    }
  }

  get apiKey(): string | null {
    return this.settings.apiKey;
  }

  get retries(): RetryPolicy {
    return this.settings.retries;
  }

  /** The address in use, without a slash at its end. */
  get baseUrl(): string {
    return (this.settings.urls[this.index] as string).replace(/\/+$/, '');
  }

  /** The answer of a call, translated; null where it is empty. Throws `AITBCError`. */
  async call<K extends OperationKey>(key: K, request: Request<K> = {}): Promise<Answer<K>> {
    const data = await this.send(key, request, 'application/json', MAX_ANSWER_BYTES);
    let value: unknown = null;
    try {
      if (data.length > 0) value = JSON.parse(new TextDecoder().decode(data));
    } catch {
      throw new InvalidAnswerError('the answer is not JSON');
    }
    return camelize(value, OPERATIONS[key].answer) as Answer<K>;
  }

  /** The bytes that a call answers. Throws `AITBCError`. */
  async download<K extends OperationKey>(key: K, request: Request<K> = {}): Promise<Uint8Array> {
    return this.send(key, request, '*/*', MAX_DOWNLOAD_BYTES);
  }

  /** The events that a call answers; only their beginning is bounded in time. */
  async open<K extends OperationKey>(
    key: K,
    request: Request<K>,
  ): Promise<ReadableStream<Uint8Array>> {
    const written = this.write(key, request, 'text/event-stream');
    const timer = new AbortController();
    const handle = setTimeout(() => timer.abort(), written.timeout);
    const base = this.baseUrl;
    try {
      const signal = joinSignals(timer.signal, written.signal);
      const { body } = await checkStatus(await this.ask(base, written, signal));
      if (body === null) throw new InvalidAnswerError('the answer has no body');
      return body;
    } catch (error) {
      throw this.note(translateError(error, timer.signal, written), base);
    } finally {
      clearTimeout(handle);
    }
  }

  /** Wait before the next attempt; throws the error where none is due. */
  async pause(
    error: unknown,
    attempt: number,
    signal: AbortSignal | undefined,
    isRepeatable = true,
  ): Promise<void> {
    const delay = computeDelay(error, attempt, isRepeatable, this.settings.retries);
    if (delay === null) throw error;
    await sleep(delay, signal);
  }

  private async send<K extends OperationKey>(
    key: K,
    request: Request<K>,
    accept: string,
    limit: number,
  ): Promise<Uint8Array> {
    const written = this.write(key, request, accept);
    for (let attempt = 1; ; attempt++) {
      const timer = AbortSignal.timeout(written.timeout);
      const base = this.baseUrl;
      try {
        const answer = await this.ask(base, written, joinSignals(timer, written.signal));
        return await readBody(await checkStatus(answer), limit);
      } catch (error) {
        const failure = this.note(translateError(error, timer, written), base);
        await this.pause(failure, attempt, written.signal, written.isRepeatable);
      }
    }
  }

  private ask(base: string, written: Written, signal: AbortSignal): Promise<Response> {
    return this.settings.fetch(base + written.target, {
      method: written.method,
      headers: written.headers,
      body: written.body ?? null,
      redirect: 'manual', // the key goes to no other address than the one that was given
      signal,
    });
  }

  /** Turn to the next address when the one used does not serve. */
  note(error: unknown, base: string): unknown {
    const isDown =
      error instanceof ConnectionFailedError ||
      (error instanceof APIError &&
        (FAILOVER_STATUSES.has(error.status) || FAILOVER_CODES.has(error.code)));
    // Another call may have turned already.
    if (isDown && base === this.baseUrl) this.index = (this.index + 1) % this.settings.urls.length;
    return error;
  }

  private write<K extends OperationKey>(key: K, request: Request<K>, accept: string): Written {
    const [method, template] = key.split(' ') as [string, string];
    const operation = OPERATIONS[key];
    const headers: Record<string, string> = { Accept: accept };
    if (this.settings.apiKey !== null) headers['X-Api-Key'] = this.settings.apiKey;
    if (operation.takesKey) headers['Idempotency-Key'] = request.idempotencyKey ?? makeKey();
    let body: string | FormData | undefined;
    if (request.body instanceof FormData) body = request.body;
    else if (request.body !== undefined) {
      headers['Content-Type'] = 'application/json';
      body = JSON.stringify(snakify(request.body, operation.body));
    }
    return {
      method,
      target: fillPath(template, request.path ?? {}) + writeQuery(request.query ?? {}),
      headers,
      body,
      isRepeatable: method !== 'POST' || operation.takesKey || request.isRepeatable === true,
      timeout: request.timeout ?? this.settings.timeout,
      signal: request.signal,
    };
  }
}

/** Wait, unless the signal is or gets aborted: then its reason is thrown. */
export async function sleep(delay: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(handle);
      reject(signal?.reason);
    };
    const handle = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, delay);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

/** The wait after the attempt of this number (from 1): full jitter over a growing range. */
export function drawDelay(attempt: number, policy: RetryPolicy): number {
  return Math.min(policy.longestDelay, policy.firstDelay * 2 ** (attempt - 1)) * Math.random();
}

/** How long to wait before the next attempt; null where there is to be none. */
function computeDelay(
  error: unknown,
  attempt: number,
  isRepeatable: boolean,
  policy: RetryPolicy,
): number | null {
  if (attempt >= policy.attempts) return null;
  if (error instanceof ConnectionFailedError) {
    return !error.isSent || isRepeatable ? drawDelay(attempt, policy) : null;
  }
  if (!(error instanceof APIError)) return null;
  const { status, retryAfter } = error;
  // What a limiter refused was not begun; 409 with Retry-After is a twin still running.
  const isPassing = RETRIED_STATUSES.has(status) || (status === 409 && retryAfter !== null);
  if (status !== 429 && !(isPassing && isRepeatable)) return null;
  if (retryAfter === null) return drawDelay(attempt, policy);
  if (retryAfter > policy.longestRetryAfter) return null;
  return retryAfter + policy.firstDelay * Math.random();
}

async function checkStatus(answer: Response): Promise<Response> {
  if (answer.ok) return answer;
  if (answer.status < 400) {
    throw new InvalidAnswerError(`a redirection, which is not followed: ${answer.status}`);
  }
  const data = await readBody(answer, MAX_ANSWER_BYTES);
  let body: unknown = null;
  try {
    body = JSON.parse(new TextDecoder().decode(data));
  } catch {
    // A proxy in between may answer in HTML.
  }
  throw buildApiError(answer.status, body, readRetryAfter(answer.headers.get('Retry-After')));
}

async function readBody(answer: Response, limit: number): Promise<Uint8Array> {
  if (answer.body === null) return new Uint8Array(0);
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = answer.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    length += part.value.length;
    if (length > limit) {
      await reader.cancel();
      throw new InvalidAnswerError(`the answer is over ${limit} bytes`);
    }
    chunks.push(part.value);
  }
  const whole = new Uint8Array(length);
  let position = 0;
  for (const chunk of chunks) {
    whole.set(chunk, position);
    position += chunk.length;
  }
  return whole;
}

/** What a failed attempt is to the caller; the caller's own abort stays what it is. */
function translateError(error: unknown, timer: AbortSignal, written: Written): unknown {
  if (error instanceof AITBCError || written.signal?.aborted === true) return error;
  const where = `${written.method} ${written.target}`;
  if (timer.aborted) {
    return new RequestTimeoutError(`${where}: no answer in ${written.timeout} ms`, true);
  }
  const cause = error instanceof Error ? error.cause : undefined;
  const code = (cause as { code?: unknown } | undefined)?.code;
  const isSent = !(typeof code === 'string' && UNSENT_CODES.has(code));
  const reason = typeof code === 'string' ? code : String(error);
  return new ConnectionFailedError(`${where}: ${reason}`, isSent, { cause: error });
}

/** Milliseconds that a Retry-After header asks for, in either of its two forms. */
function readRetryAfter(text: string | null): number | null {
  if (text === null) return null;
  if (/^\s*\d+\s*$/.test(text)) return 1000 * Number(text);
  const moment = Date.parse(text);
  return Number.isNaN(moment) ? null : Math.max(0, moment - Date.now());
}

function fillPath(template: string, parameters: Parameters): string {
  return template.replace(/\{([^}]*)\}/g, (_, name: string) => {
    const value = parameters[name];
    if (value === undefined || value === '') throw new TypeError(`${name} is missing`);
    // A dot alone would be taken for a step in the path, encoded or not.
    if (value === '.' || value === '..') throw new TypeError(`${name} cannot be ${value}`);
    return encodeURIComponent(value);
  });
}

function writeQuery(query: object): string {
  const entries = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const text = new URLSearchParams(
    entries.map(([name, value]) => [toSnake(name), String(value)]),
  ).toString();
  return text === '' ? '' : `?${text}`;
}

function makeKey(): string {
  const data = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  return Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function joinSignals(timer: AbortSignal, signal: AbortSignal | undefined): AbortSignal {
  return signal === undefined ? timer : AbortSignal.any([timer, signal]);
}
