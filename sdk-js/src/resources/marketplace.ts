/** Miners' offers, each accepted for one job. */

import type { Answer, Body, Query } from '../contract.js';
import { paginate } from '../listing.js';
import type { Listing } from '../listing.js';
import type { CallOptions } from '../transport.js';
import { Resource } from './resource.js';

export type Offer = Answer<'POST /v1/marketplace/offers'>;
export type OfferList = Answer<'GET /v1/marketplace/offers'>;
export type MarketStats = Answer<'GET /v1/marketplace/stats'>;

export class Marketplace extends Resource {
  /** Offer work of a type at a price in AIT per unit. */
  createOffer(
    offer: Body<'POST /v1/marketplace/offers'>,
    options: CallOptions = {},
  ): Promise<Offer> {
    return this.transport.call('POST /v1/marketplace/offers', { ...options, body: offer });
  }

  /** The offers that can be accepted now. */
  listOffers(
    query: Query<'GET /v1/marketplace/offers'> = {},
    options: CallOptions = {},
  ): Listing<OfferList, OfferList['offers'][number]> {
    return paginate(
      query,
      (paged) => this.transport.call('GET /v1/marketplace/offers', {
          ...options,
          query: paged,
        }),
      (page) => page.offers,
    );
  }

  getOffer(
    offerId: string,
    options: CallOptions = {},
  ): Promise<Answer<'GET /v1/marketplace/offers/{offerId}'>> {
    return this.transport.call('GET /v1/marketplace/offers/{offerId}', {
      ...options,
      path: { offerId },
    });
  }

  /** Accept an offer for a job of one's own. Throws `OfferNotAvailableError`. */
  acceptOffer(
    offerId: string,
    body: Body<'POST /v1/marketplace/offers/{offerId}/accept'>,
    options: CallOptions = {},
  ): Promise<Answer<'POST /v1/marketplace/offers/{offerId}/accept'>> {
    return this.transport.call('POST /v1/marketplace/offers/{offerId}/accept', {
      ...options,
      path: { offerId },
      body,
    });
  }

  /** Take an offer of one's own back. */
  cancelOffer(
    offerId: string,
    options: CallOptions = {},
  ): Promise<Answer<'DELETE /v1/marketplace/offers/{offerId}'>> {
    return this.transport.call('DELETE /v1/marketplace/offers/{offerId}', {
      ...options,
      path: { offerId },
    });
  }

  /** The market's totals, computed from the chain. */
  getStats(options: CallOptions = {}): Promise<MarketStats> {
    return this.transport.call('GET /v1/marketplace/stats', options);
  }
}
