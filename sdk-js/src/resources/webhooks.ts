/** Addresses that are told of events. */

import type { Answer, Body, Query } from '../contract.js';
import { paginate } from '../listing.js';
import type { Listing } from '../listing.js';
import type { CallOptions } from '../transport.js';
import { Resource } from './resource.js';

export type WebhookList = Answer<'GET /v1/webhooks'>;
export type Webhook = Answer<'GET /v1/webhooks/{webhookId}'>;
export type NewWebhook = Answer<'POST /v1/webhooks'>;
export type DeliveryList = Answer<'GET /v1/webhooks/{webhookId}/deliveries'>;
export type Delivery = DeliveryList['deliveries'][number];

export class Webhooks extends Resource {
  /** Have events sent to an address; the answer's `secret` is shown this once. */
  create(webhook: Body<'POST /v1/webhooks'>, options: CallOptions = {}): Promise<NewWebhook> {
    return this.transport.call('POST /v1/webhooks', { ...options, body: webhook });
  }

  list(
    query: Query<'GET /v1/webhooks'> = {},
    options: CallOptions = {},
  ): Listing<WebhookList, WebhookList['webhooks'][number]> {
    return paginate(
      query,
      (paged) => this.transport.call('GET /v1/webhooks', { ...options, query: paged }),
      (page) => page.webhooks,
    );
  }

  get(webhookId: string, options: CallOptions = {}): Promise<Webhook> {
    return this.transport.call('GET /v1/webhooks/{webhookId}', { ...options, path: { webhookId } });
  }

  async delete(webhookId: string, options: CallOptions = {}): Promise<void> {
    await this.transport.call('DELETE /v1/webhooks/{webhookId}', {
      ...options,
      path: { webhookId },
    });
  }

  /** Send a test event to the address. */
  test(
    webhookId: string,
    options: CallOptions = {},
  ): Promise<Answer<'POST /v1/webhooks/{webhookId}/test'>> {
    return this.transport.call('POST /v1/webhooks/{webhookId}/test', {
      ...options,
      path: { webhookId },
    });
  }

  /** Give it a new secret, shown this once. */
  rotate(
    webhookId: string,
    options: CallOptions = {},
  ): Promise<Answer<'POST /v1/webhooks/{webhookId}/rotate'>> {
    return this.transport.call('POST /v1/webhooks/{webhookId}/rotate', {
      ...options,
      path: { webhookId },
    });
  }

  /** What was sent, or is to be. */
  listDeliveries(
    webhookId: string,
    query: Query<'GET /v1/webhooks/{webhookId}/deliveries'> = {},
    options: CallOptions = {},
  ): Listing<DeliveryList, Delivery> {
    return paginate(
      query,
      (paged) => this.transport.call('GET /v1/webhooks/{webhookId}/deliveries', {
          ...options,
          path: { webhookId },
          query: paged,
        }),
      (page) => page.deliveries,
    );
  }

  /** Send a delivery once more. */
  redeliver(
    webhookId: string,
    deliveryId: string,
    options: CallOptions = {},
  ): Promise<Answer<'POST /v1/webhooks/{webhookId}/deliveries/{deliveryId}/redeliver'>> {
    return this.transport.call('POST /v1/webhooks/{webhookId}/deliveries/{deliveryId}/redeliver', {
      ...options,
      path: { webhookId, deliveryId },
    });
  }
}
