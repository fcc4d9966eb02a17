/** Final chain state, never a job's content. */

import type { Answer, Query } from '../contract.js';
import { paginate } from '../listing.js';
import type { Listing } from '../listing.js';
import type { CallOptions } from '../transport.js';
import { Resource } from './resource.js';

interface PageOf {
  readonly items: readonly unknown[];
  readonly nextCursor: string | null;
}

type Item<P extends PageOf> = P['items'][number];

export class Explorer extends Resource {
  /** Final blocks, newest first. */
  listBlocks(
    query: Query<'GET /v1/explorer/blocks'> = {},
    options: CallOptions = {},
  ): Listing<Answer<'GET /v1/explorer/blocks'>, Item<Answer<'GET /v1/explorer/blocks'>>> {
    return list(query, (paged) =>
      this.transport.call('GET /v1/explorer/blocks', { ...options, query: paged }),
    );
  }

  /** A block by height or hash. */
  getBlock(
    block: number | string,
    options: CallOptions = {},
  ): Promise<Answer<'GET /v1/explorer/blocks/{block}'>> {
    return this.transport.call('GET /v1/explorer/blocks/{block}', { ...options, path: { block } });
  }

  /** Final transactions, newest first. */
  listTransactions(
    query: Query<'GET /v1/explorer/transactions'> = {},
    options: CallOptions = {},
  ): Listing<Answer<'GET /v1/explorer/transactions'>, Item<Answer<'GET /v1/explorer/transactions'>>> {
    return list(query, (paged) =>
      this.transport.call('GET /v1/explorer/transactions', { ...options, query: paged }),
    );
  }

  getTransaction(
    hash: string,
    options: CallOptions = {},
  ): Promise<Answer<'GET /v1/explorer/transactions/{hash}'>> {
    return this.transport.call('GET /v1/explorer/transactions/{hash}', {
      ...options,
      path: { hash },
    });
  }

  /** Receipts as the chain knows them, newest first: commitments, never contents. */
  listReceipts(
    query: Query<'GET /v1/explorer/receipts'> = {},
    options: CallOptions = {},
  ): Listing<Answer<'GET /v1/explorer/receipts'>, Item<Answer<'GET /v1/explorer/receipts'>>> {
    return list(query, (paged) =>
      this.transport.call('GET /v1/explorer/receipts', { ...options, query: paged }),
    );
  }

  getReceipt(
    receipt: string,
    options: CallOptions = {},
  ): Promise<Answer<'GET /v1/explorer/receipts/{receipt}'>> {
    return this.transport.call('GET /v1/explorer/receipts/{receipt}', {
      ...options,
      path: { receipt },
    });
  }

  listMiners(
    query: Query<'GET /v1/explorer/miners'> = {},
    options: CallOptions = {},
  ): Listing<Answer<'GET /v1/explorer/miners'>, Item<Answer<'GET /v1/explorer/miners'>>> {
    return list(query, (paged) =>
      this.transport.call('GET /v1/explorer/miners', { ...options, query: paged }),
    );
  }

  /** A miner as the chain's state holds it, with its claims and inclusion proof. */
  getMiner(
    miner: string,
    options: CallOptions = {},
  ): Promise<Answer<'GET /v1/explorer/miners/{miner}'>> {
    return this.transport.call('GET /v1/explorer/miners/{miner}', { ...options, path: { miner } });
  }

  /** Offers as the chain holds them, newest first. */
  listOffers(
    query: Query<'GET /v1/explorer/offers'> = {},
    options: CallOptions = {},
  ): Listing<Answer<'GET /v1/explorer/offers'>, Item<Answer<'GET /v1/explorer/offers'>>> {
    return list(query, (paged) =>
      this.transport.call('GET /v1/explorer/offers', { ...options, query: paged }),
    );
  }

  getOffer(
    offer: string,
    options: CallOptions = {},
  ): Promise<Answer<'GET /v1/explorer/offers/{offer}'>> {
    return this.transport.call('GET /v1/explorer/offers/{offer}', { ...options, path: { offer } });
  }

  /** A job as the chain's state holds it, with its inclusion proof. */
  getJob(job: string, options: CallOptions = {}): Promise<Answer<'GET /v1/explorer/jobs/{job}'>> {
    return this.transport.call('GET /v1/explorer/jobs/{job}', { ...options, path: { job } });
  }

  /** An account as the chain's state holds it, with its inclusion proof. */
  getAccount(
    address: string,
    options: CallOptions = {},
  ): Promise<Answer<'GET /v1/explorer/accounts/{address}'>> {
    return this.transport.call('GET /v1/explorer/accounts/{address}', {
      ...options,
      path: { address },
    });
  }

  /** The network's totals. */
  getStats(options: CallOptions = {}): Promise<Answer<'GET /v1/explorer/stats'>> {
    return this.transport.call('GET /v1/explorer/stats', options);
  }

  /** What a height, hash, address, job or miner name belongs to. */
  search(text: string, options: CallOptions = {}): Promise<Answer<'GET /explorer/search'>> {
    return this.transport.call('GET /explorer/search', { ...options, query: { q: text } });
  }
}

function list<Q extends object, P extends PageOf>(
  query: Q,
  fetchPage: (query: Q) => Promise<P>,
): Listing<P, Item<P>> {
  return paginate(query, fetchPage, (page) => page.items);
}
