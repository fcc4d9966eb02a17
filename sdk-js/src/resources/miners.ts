/** The side of the contract that miners use, and what anybody may know of them. */

import type { Answer, Body, Query } from '../contract.js';
import { paginate } from '../listing.js';
import type { Listing } from '../listing.js';
import type { CallOptions } from '../transport.js';
import { Resource } from './resource.js';
import type { Job } from './jobs.js';

export type Miner = Answer<'GET /v1/miners/{minerId}'>;
export type MinerStats = Answer<'GET /v1/miners/{minerId}/stats'>;
export type EarningList = Answer<'GET /v1/miners/{minerId}/earnings'>;
export type Earning = EarningList['earnings'][number];
export type ClaimedJob = Answer<'POST /v1/jobs/{jobId}/claim'>;

/** How much longer than the node may wait for a job the call may take, in milliseconds. */
const POLL_MARGIN_MS = 15_000;

export class Miners extends Resource {
  /** Register a miner; again with the same content is harmless. */
  register(
    miner: Body<'POST /v1/miners/register'>,
    options: CallOptions = {},
  ): Promise<Answer<'POST /v1/miners/register'>> {
    return this.transport.call('POST /v1/miners/register', { ...options, body: miner });
  }

  get(minerId: string, options: CallOptions = {}): Promise<Miner> {
    return this.transport.call('GET /v1/miners/{minerId}', { ...options, path: { minerId } });
  }

  /** A miner's figures, computed from the chain. */
  getStats(minerId: string, options: CallOptions = {}): Promise<MinerStats> {
    return this.transport.call('GET /v1/miners/{minerId}/stats', { ...options, path: { minerId } });
  }

  /** A miner's earnings, each with its receipt, transaction and height. */
  listEarnings(
    minerId: string,
    query: Query<'GET /v1/miners/{minerId}/earnings'> = {},
    options: CallOptions = {},
  ): Listing<EarningList, Earning> {
    return paginate(
      query,
      (paged) => this.transport.call('GET /v1/miners/{minerId}/earnings', {
          ...options,
          path: { minerId },
          query: paged,
        }),
      (page) => page.earnings,
    );
  }

  /** A job that this miner could claim, or null; the node waits up to `wait` seconds for one. */
  getAvailableJob(
    minerId: string,
    wait: number = 0,
    options: CallOptions = {},
  ): Promise<Job | null> {
    return this.transport.call('GET /v1/jobs/available', {
      timeout: 1_000 * wait + POLL_MARGIN_MS,
      ...options,
      query: { minerId, wait },
    });
  }

  /** Claim a job; answers once the claim is final. Throws `JobAlreadyClaimedError`. */
  claim(
    jobId: string,
    body: Body<'POST /v1/jobs/{jobId}/claim'>,
    options: CallOptions = {},
  ): Promise<ClaimedJob> {
    return this.transport.call('POST /v1/jobs/{jobId}/claim', { ...options, path: { jobId }, body });
  }

  /** Say that the job is being worked on: progress 0 to 100. */
  sendHeartbeat(
    jobId: string,
    body: Body<'POST /v1/jobs/{jobId}/heartbeat'>,
    options: CallOptions = {},
  ): Promise<Answer<'POST /v1/jobs/{jobId}/heartbeat'>> {
    return this.transport.call('POST /v1/jobs/{jobId}/heartbeat', {
      ...options,
      path: { jobId },
      body,
      isRepeatable: true,
    });
  }

  /** Hand in a job's result with its receipt and settlement; repeating it is harmless. */
  complete(
    jobId: string,
    body: Body<'POST /v1/jobs/{jobId}/complete'>,
    options: CallOptions = {},
  ): Promise<Answer<'POST /v1/jobs/{jobId}/complete'>> {
    return this.transport.call('POST /v1/jobs/{jobId}/complete', {
      ...options,
      path: { jobId },
      body,
    });
  }

  /** Give a lease back with a reason. */
  fail(
    jobId: string,
    body: Body<'POST /v1/jobs/{jobId}/fail'>,
    options: CallOptions = {},
  ): Promise<Answer<'POST /v1/jobs/{jobId}/fail'>> {
    return this.transport.call('POST /v1/jobs/{jobId}/fail', { ...options, path: { jobId }, body });
  }
}
