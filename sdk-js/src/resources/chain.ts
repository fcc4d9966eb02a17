/** The chain and its accounts: no key is needed, since what is sent is signed. */

import type { Answer, Query } from '../contract.js';
import type { CallOptions } from '../transport.js';
import { Resource } from './resource.js';

export type ChainStatus = Answer<'GET /v1/chain/status'>;
export type Account = Answer<'GET /v1/accounts/{address}'>;
export type TransactionStatus = Answer<'GET /v1/transactions/{hash}'>;
type Verdicts = Answer<'POST /v1/transactions'>;
export type Verdict = Exclude<Verdicts, readonly unknown[]>;

export class Chain extends Resource {
  getStatus(options: CallOptions = {}): Promise<ChainStatus> {
    return this.transport.call('GET /v1/chain/status', options);
  }

  /** The authorities in force. */
  listValidators(options: CallOptions = {}): Promise<Answer<'GET /v1/chain/validators'>> {
    return this.transport.call('GET /v1/chain/validators', options);
  }

  /** The nodes that this one is connected to. */
  listPeers(options: CallOptions = {}): Promise<Answer<'GET /v1/chain/peers'>> {
    return this.transport.call('GET /v1/chain/peers', options);
  }

  /** How the authority sets followed each other from an epoch on, the oldest first. */
  listSuccessions(
    query: Query<'GET /v1/chain/successions'> = {},
    options: CallOptions = {},
  ): Promise<Answer<'GET /v1/chain/successions'>> {
    return this.transport.call('GET /v1/chain/successions', { ...options, query });
  }

  /** The chain's genesis document as bytes: what `loadGenesis` reads, once it is trusted. */
  getGenesis(options: CallOptions = {}): Promise<Uint8Array> {
    return this.transport.download('GET /v1/chain/genesis', options);
  }

  /**
   * Send signed transactions (hex) to the mempool; one verdict each, in order.
   *
   * A transaction's id is its content, so sending it again is harmless.
   */
  async send(transactions: readonly string[], options: CallOptions = {}): Promise<Verdict[]> {
    const verdicts = await this.transport.call('POST /v1/transactions', {
      ...options,
      body: [...transactions],
      isRepeatable: true,
    });
    return Array.isArray(verdicts) ? verdicts : [verdicts];
  }

  /** Where a transaction stands: waiting, or in which block with what outcome. */
  getTransaction(hash: string, options: CallOptions = {}): Promise<TransactionStatus> {
    return this.transport.call('GET /v1/transactions/{hash}', { ...options, path: { hash } });
  }

  /** The supply equation at a height: balances, escrows and bonds against the supply. */
  auditSupply(
    query: Query<'GET /v1/audit/supply'> = {},
    options: CallOptions = {},
  ): Promise<Answer<'GET /v1/audit/supply'>> {
    return this.transport.call('GET /v1/audit/supply', { ...options, query });
  }
}

export class Accounts extends Resource {
  /** An account's balance, nonce and pending nonce. */
  get(address: string, options: CallOptions = {}): Promise<Account> {
    return this.transport.call('GET /v1/accounts/{address}', { ...options, path: { address } });
  }
}
