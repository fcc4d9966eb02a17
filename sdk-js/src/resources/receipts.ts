/** The signed receipts of completed jobs. */

import { getShape, snakify } from '../contract.js';
import type { Answer, Query } from '../contract.js';
import { paginate } from '../listing.js';
import type { Listing } from '../listing.js';
import type { CallOptions } from '../transport.js';
import { Resource } from './resource.js';

export type ReceiptList = Answer<'GET /v1/receipts'>;
export type Receipt = ReceiptList['receipts'][number];
export type ReceiptVerdict = Answer<'POST /v1/receipts/verify'>;

export class Receipts extends Resource {
  /** The receipts that one may see, newest first. */
  list(
    query: Query<'GET /v1/receipts'> = {},
    options: CallOptions = {},
  ): Listing<ReceiptList, Receipt> {
    return paginate(
      query,
      (paged) => this.transport.call('GET /v1/receipts', { ...options, query: paged }),
      (page) => page.receipts,
    );
  }

  /** A receipt by its own or its job's id. */
  async get(receiptId: string, options: CallOptions = {}): Promise<Receipt> {
    const call = { ...options, path: { receiptId } };
    // Only `bundle` in the query makes it answer anything else.
    return (await this.transport.call('GET /v1/receipts/{receiptId}', call)) as Receipt;
  }

  /**
   * The file that `verifyReceipt` checks without a network, as bytes to be kept as they are.
   *
   * Throws `JobNotCompletedError` before the settlement is final.
   */
  getBundle(receiptId: string, options: CallOptions = {}): Promise<Uint8Array> {
    return this.transport.download('GET /v1/receipts/{receiptId}', {
      ...options,
      path: { receiptId },
      query: { bundle: '1' },
    });
  }

  /** What a settled receipt's commitments hide, for its owner to show to an auditor. */
  getOpening(
    receiptId: string,
    options: CallOptions = {},
  ): Promise<Answer<'GET /v1/receipts/{receiptId}/opening'>> {
    return this.transport.call('GET /v1/receipts/{receiptId}/opening', {
      ...options,
      path: { receiptId },
    });
  }

  /** Have the node check a receipt's signature, proof and inclusion. */
  verify(receipt: object, options: CallOptions = {}): Promise<ReceiptVerdict> {
    const document = snakify(receipt, getShape('Receipt')) as Record<string, unknown>;
    return this.transport.call('POST /v1/receipts/verify', {
      ...options,
      body: { receipt: document },
      isRepeatable: true,
    });
  }
}
