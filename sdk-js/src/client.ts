/** Decides what the client offers: the tree of calls, and how it is made. */

import { Live } from './live.js';
import type { WebSocketClass } from './live.js';
import { Accounts, Chain } from './resources/chain.js';
import { Explorer } from './resources/explorer.js';
import { Files } from './resources/files.js';
import { Jobs } from './resources/jobs.js';
import { Marketplace } from './resources/marketplace.js';
import { Miners } from './resources/miners.js';
import { Receipts } from './resources/receipts.js';
import { Registry, Services } from './resources/services.js';
import { Webhooks } from './resources/webhooks.js';
import { DEFAULT_RETRIES, Transport } from './transport.js';
import type { RetryPolicy } from './transport.js';

const DEFAULT_URL = 'http://127.0.0.1:8001';
const TIMEOUT_MS = 30_000;

type Environment = Readonly<Record<string, string | undefined>>;

export interface ClientOptions {
  /** Needed for all but the public calls. Without it, Node's AITBC_API_KEY. */
  readonly apiKey?: string;
  /** One address, or those of several nodes, tried in turn. Without it, Node's AITBC_API_URL. */
  readonly baseUrl?: string | readonly string[];
  /** How long one attempt may take, in milliseconds. */
  readonly timeout?: number;
  readonly retries?: Partial<RetryPolicy>;
  /** Another `fetch` than the platform's. */
  readonly fetch?: typeof fetch;
  /** Another `WebSocket` than the platform's; Node before 22 has none and takes that of `ws`. */
  readonly webSocket?: WebSocketClass;
}

/** The client of an AITBC node. */
export class AITBCClient {
  readonly jobs: Jobs;
  readonly receipts: Receipts;
  readonly miners: Miners;
  readonly marketplace: Marketplace;
  readonly services: Services;
  readonly registry: Registry;
  readonly files: Files;
  readonly chain: Chain;
  readonly accounts: Accounts;
  readonly explorer: Explorer;
  readonly webhooks: Webhooks;
  readonly live: Live;

  constructor(options: ClientOptions = {}) {
    const { env = {} } = (globalThis as { process?: { env?: Environment } }).process ?? {};
    const { baseUrl = env['AITBC_API_URL'] ?? DEFAULT_URL } = options;
    const transport = new Transport({
      urls: typeof baseUrl === 'string' ? [baseUrl] : baseUrl,
      apiKey: options.apiKey ?? env['AITBC_API_KEY'] ?? null,
      timeout: options.timeout ?? TIMEOUT_MS,
      retries: { ...DEFAULT_RETRIES, ...options.retries },
      fetch: options.fetch ?? ((...given) => fetch(...given)),
    });
    this.jobs = new Jobs(transport);
    this.receipts = new Receipts(transport);
    this.miners = new Miners(transport);
    this.marketplace = new Marketplace(transport);
    this.services = new Services(transport);
    this.registry = new Registry(transport);
    this.files = new Files(transport);
    this.chain = new Chain(transport);
    this.accounts = new Accounts(transport);
    this.explorer = new Explorer(transport);
    this.webhooks = new Webhooks(transport);
    this.live = new Live(transport, options.webSocket);
  }
}
