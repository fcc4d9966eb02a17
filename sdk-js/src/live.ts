/**
 * Decides how live updates are followed over `/ws`: subscribe, read, and go on where a connection
 * broke. The key goes in the first message: browsers can send no header.
 */

import { camelize } from './contract.js';
import { ConnectionFailedError, InvalidAnswerError, SocketClosedError } from './errors.js';
import { drawDelay, sleep } from './transport.js';
import type { Transport } from './transport.js';

const PROTOCOL = 'aitbc.v1';
/** Codes after which another attempt would end in the same way. */
const FINAL_CODES = new Set([4400, 4401, 4403, 4421]);
const OPEN_MS = 15_000;
/** A silent connection is asked whether it is there, and given up after so many questions. */
const PING_MS = 20_000;
const UNANSWERED_PINGS = 2;
/** Updates that wait to be read; beyond it the connection is let go and taken up again later. */
const MAX_WAITING = 10_000;
const DRAIN_MS = 100;

/** A job's state changed: its status, its phase, its progress, its miner or its cancellation. */
export interface JobUpdate {
  jobId: string;
  status: string;
  phase: string;
  progress: number;
  minerId: string | null;
  cancelRequested: boolean;
  fault: string | null;
  reasonCode: number | null;
  timestamp: string;
}

/** A job's receipt is on the chain. */
export interface ReceiptCreated {
  receiptId: string;
  jobId: string;
  minerId: string;
  amount: string;
  amountBase: string;
  tx: string;
  height: number;
  timestamp: string;
}

/** An offer was made, accepted for a job, withdrawn, or ran out. */
export interface MarketplaceUpdate {
  offerId: string;
  event: 'created' | 'accepted' | 'cancelled' | 'expired';
  minerId: string;
  jobType: string;
  price: string;
  priceBase: string;
  /** Null where a deadline did it. */
  tx: string | null;
  height: number;
  timestamp: string;
}

/** A block is final. */
export interface BlockCreated {
  height: number;
  hash: string;
  parentHash: string;
  proposer: string;
  transactions: number;
  timestamp: string;
}

/** Updates behind `since` may be lost: read the state of what matters again. */
export interface Gap {
  since: number;
  oldest: number;
  reason: string;
}

interface Message<T extends string, D> {
  type: T;
  /** Where to go on after this one. */
  seq: number;
  data: D;
}

export type LiveUpdate =
  | Message<'job_update', JobUpdate>
  | Message<'receipt_created', ReceiptCreated>
  | Message<'marketplace_update', MarketplaceUpdate>
  | Message<'block_created', BlockCreated>
  | Message<'gap', Gap>;

export type UpdateType = Exclude<LiveUpdate['type'], 'gap'>;
const TOLD = new Set<string>([
  'job_update',
  'receipt_created',
  'marketplace_update',
  'block_created',
  'gap',
] satisfies LiveUpdate['type'][]);

export interface SubscribeOptions {
  /** Which types to hear of; without them, all. */
  readonly types?: readonly UpdateType[];
  /** Of jobs, only these. */
  readonly jobIds?: readonly string[];
  /** The `seq` of an update: everything after it comes first. */
  readonly since?: number;
  readonly signal?: AbortSignal;
}

/** What the platform's WebSocket and that of the package `ws` have in common. */
export interface WebSocketLike {
  readonly readyState: number;
  readonly OPEN: number;
  send(data: string): void;
  close(): void;
  addEventListener(type: 'open' | 'error', listener: () => void): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  addEventListener(
    type: 'close',
    listener: (event: { code: number; reason: string }) => void,
  ): void;
}

export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike;

export class Live {
  constructor(
    private readonly transport: Transport,
    private readonly webSocket: WebSocketClass | undefined,
  ) {}

  /**
   * Hear what happens to one's own jobs and receipts, of offers and of blocks.
   *
   * Resolves once the node listens; whatever happens from then on is in the subscription. A
   * connection that breaks is taken up again where it was. Throws `AITBCError`.
   */
  async subscribe(options: SubscribeOptions = {}): Promise<Subscription> {
    options.signal?.throwIfAborted();
    const kind = this.webSocket ?? (await findWebSocket());
    const subscription = new Subscription(this.transport, kind, options);
    await subscription.ready;
    return subscription;
  }
}

/** Updates as they come, to be iterated once. `close` ends it. */
export class Subscription implements AsyncIterable<LiveUpdate> {
  /** Resolves once the node listens. */
  readonly ready: Promise<void>;
  private readonly waiting: LiveUpdate[] = [];
  private readonly ended = new AbortController();
  private error: unknown = null;
  private position: number | undefined;
  private told = 0;
  private wake: () => void = () => {};

  constructor(
    private readonly transport: Transport,
    private readonly kind: WebSocketClass,
    private readonly options: SubscribeOptions,
  ) {
    this.position = options.since;
    options.signal?.addEventListener('abort', () => this.fail(options.signal?.reason), {
      once: true,
      signal: this.ended.signal,
    });
    this.ready = new Promise((resolve, reject) => {
      this.run(resolve).catch((error: unknown) => {
        if (!this.ended.signal.aborted) this.fail(error);
        reject(this.error ?? error);
      });
    });
    this.ready.catch(() => {}); // whoever iterates hears of it
  }

  /** Hear no more; what has come already can still be read. */
  close(): void {
    this.ended.abort();
    this.wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<LiveUpdate, void, undefined> {
    try {
      for (;;) {
        const update = this.waiting.shift();
        if (update !== undefined) {
          yield update;
          continue;
        }
        if (this.error !== null) throw this.error;
        if (this.ended.signal.aborted) return;
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    } finally {
      this.close();
    }
  }

  private fail(error: unknown): void {
    this.error = error;
    this.close();
  }

  /** Keep a connection until the end, a new one after each that broke. */
  private async run(onReady: () => void): Promise<void> {
    const { retries } = this.transport;
    for (let failures = 0; !this.ended.signal.aborted; ) {
      const base = this.transport.baseUrl;
      const before = this.told;
      const began = Date.now();
      try {
        await this.follow(base, onReady);
      } catch (error) {
        this.transport.note(error, base);
        // What brought something, or lasted, was a connection; others are counted.
        const didServe = this.told !== before || Date.now() - began > OPEN_MS;
        failures = didServe ? 1 : failures + 1;
        const isFinal = error instanceof SocketClosedError && FINAL_CODES.has(error.closeCode);
        const isPassing = error instanceof ConnectionFailedError && !isFinal;
        if (!isPassing || failures >= retries.attempts) throw error;
        await sleep(drawDelay(failures, retries), this.ended.signal);
      }
      while (this.waiting.length > MAX_WAITING / 2) await sleep(DRAIN_MS, this.ended.signal);
    }
  }

  /** One connection: returns when we ended it, throws when it broke. */
  private follow(base: string, onSubscribed: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = new this.kind(`${base.replace(/^http/, 'ws')}/ws`, [PROTOCOL]);
      let isOurs = false;
      let subscriptions = 0;
      let pings = 0;
      let isOver = false;
      const end = (settle: () => void): void => {
        isOver = true;
        clearTimeout(opening);
        clearInterval(beating);
        this.ended.signal.removeEventListener('abort', leave);
        settle();
        socket.close();
      };
      const leave = (): void => end(resolve);
      const breakOff = (reason: string): void =>
        end(() => reject(new ConnectionFailedError(`${base}: ${reason}`, true)));
      const opening = setTimeout(() => breakOff('the live updates did not begin'), OPEN_MS);
      const beating = setInterval(() => {
        if (pings > UNANSWERED_PINGS) return breakOff('silent for too long');
        pings += 1;
        if (socket.readyState === socket.OPEN) socket.send('{"type":"ping"}');
      }, PING_MS);
      this.ended.signal.addEventListener('abort', leave, { once: true });
      socket.addEventListener('open', () => socket.send(this.writeKey()));
      socket.addEventListener('error', () => {}); // a close follows, and says more
      socket.addEventListener('close', ({ code, reason }) => {
        const text = `${base}: the live updates ended with ${code} ${reason}`.trimEnd();
        end(() => reject(new SocketClosedError(text, code)));
      });
      socket.addEventListener('message', ({ data }) => {
        if (isOver) return; // what was under way when we left comes again
        pings = 0;
        let message: LiveUpdate | { type: string; seq: number };
        try {
          message = readMessage(data);
        } catch (error) {
          return end(() => reject(error));
        }
        // A good key hears everything at once; the second subscription is ours.
        if (message.type === 'authenticated') socket.send(this.writeWish());
        else if (message.type === 'subscribed' && ++subscriptions === 2) {
          clearTimeout(opening);
          isOurs = true;
          onSubscribed();
        }
        if (!isOurs) return;
        this.position = message.seq;
        if (!TOLD.has(message.type)) return;
        this.told += 1;
        this.waiting.push(message as LiveUpdate);
        this.wake();
        if (this.waiting.length >= MAX_WAITING) leave();
      });
    });
  }

  private writeKey(): string {
    return JSON.stringify({ type: 'authenticate', api_key: this.transport.apiKey ?? '' });
  }

  private writeWish(): string {
    const { types, jobIds } = this.options;
    return JSON.stringify({ type: 'subscribe', types, job_ids: jobIds, since: this.position });
  }
}

function readMessage(data: unknown): LiveUpdate | { type: string; seq: number } {
  try {
    const message = JSON.parse(String(data)) as { type: unknown; seq: unknown; data: unknown };
    const { type, seq } = message;
    if (typeof type !== 'string' || !Number.isSafeInteger(seq)) throw new TypeError();
    return { type, seq: seq as number, data: camelize(message.data, { members: {} }) } as LiveUpdate;
  } catch {
    throw new InvalidAnswerError('not a message of the live updates');
  }
}

async function findWebSocket(): Promise<WebSocketClass> {
  if (typeof WebSocket !== 'undefined') return WebSocket;
  const name = 'ws'; // not a literal in the import: bundlers would look for it
  try {
    const found = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as {
      WebSocket: WebSocketClass;
    };
    return found.WebSocket;
  } catch (error) {
    const advice = 'this platform has no WebSocket: install the package ws, or pass webSocket';
    throw new ConnectionFailedError(advice, false, { cause: error });
  }
}
