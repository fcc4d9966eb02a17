/** One's own jobs: submit, look, wait, results, receipt, cancel. */

import type { Answer, Body, Query } from '../contract.js';
import { JobFailedError, WaitTimeoutError } from '../errors.js';
import { paginate } from '../listing.js';
import type { Listing } from '../listing.js';
import { sleep } from '../transport.js';
import type { CallOptions } from '../transport.js';
import { Resource } from './resource.js';

export type Job = Answer<'POST /v1/jobs'>;
export type JobRequest = Body<'POST /v1/jobs'>;
export type JobList = Answer<'GET /v1/jobs'>;
export type JobResults = Answer<'GET /v1/jobs/{jobId}/results'>;

const FIRST_POLL_MS = 200;
const LONGEST_POLL_MS = 1_000;
const POLL_GROWTH = 1.3;
const WAIT_MS = 300_000;

export interface WaitOptions {
  /** `completed`: it has its result and is settled; `final`: it has ended in any way. */
  readonly until?: 'completed' | 'final';
  /** Milliseconds until `WaitTimeoutError`. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
}

export class Jobs extends Resource {
  /** Submit a job; the answer comes before it is queued. Safe to repeat: it has a key of its own. */
  create(job: JobRequest, options: CallOptions = {}): Promise<Job> {
    return this.transport.call('POST /v1/jobs', { ...options, body: job });
  }

  get(jobId: string, options: CallOptions = {}): Promise<Job> {
    return this.transport.call('GET /v1/jobs/{jobId}', { ...options, path: { jobId } });
  }

  /** One's own jobs, newest first. */
  list(query: Query<'GET /v1/jobs'> = {}, options: CallOptions = {}): Listing<JobList, Job> {
    return paginate(
      query,
      (paged) => this.transport.call('GET /v1/jobs', { ...options, query: paged }),
      (page) => page.jobs,
    );
  }

  /** One's own jobs between two dates (inclusive) or date-times, newest first. */
  history(
    query: Query<'GET /v1/jobs/history'> = {},
    options: CallOptions = {},
  ): Listing<JobList, Job> {
    return paginate(
      query,
      (paged) => this.transport.call('GET /v1/jobs/history', { ...options, query: paged }),
      (page) => page.jobs,
    );
  }

  /** A completed job's result. Throws `JobNotCompletedError` before the end. */
  getResults(jobId: string, options: CallOptions = {}): Promise<JobResults> {
    return this.transport.call('GET /v1/jobs/{jobId}/results', { ...options, path: { jobId } });
  }

  /** A completed job's result as bytes. */
  download(jobId: string, options: CallOptions = {}): Promise<Uint8Array> {
    return this.transport.download('GET /v1/jobs/{jobId}/download', {
      ...options,
      path: { jobId },
    });
  }

  /** The receipt of a completed job: exactly what was signed, and the signature. */
  getReceipt(
    jobId: string,
    options: CallOptions = {},
  ): Promise<Answer<'GET /v1/jobs/{jobId}/receipt'>> {
    return this.transport.call('GET /v1/jobs/{jobId}/receipt', { ...options, path: { jobId } });
  }

  /** Cancel a job; repeating it is harmless. */
  cancel(jobId: string, options: CallOptions = {}): Promise<Job> {
    return this.transport.call('DELETE /v1/jobs/{jobId}', { ...options, path: { jobId } });
  }

  /**
   * The job once it has ended. Throws `WaitTimeoutError`, and `JobFailedError` where it was to
   * complete and did not.
   */
  async wait(jobId: string, options: WaitOptions = {}): Promise<Job> {
    const { until = 'completed', timeout = WAIT_MS, signal } = options;
    const deadline = Date.now() + timeout;
    for (let pause = FIRST_POLL_MS; ; pause = Math.min(LONGEST_POLL_MS, pause * POLL_GROWTH)) {
      const job = await this.get(jobId, { signal });
      if (isOver(job)) {
        if (until === 'completed' && job.status !== 'completed') {
          const fault = job.fault === null ? '' : `: ${job.fault} (reason ${job.reasonCode})`;
          throw new JobFailedError(`${job.jobId} is ${job.status}${fault}`, job);
        }
        return job;
      }
      const left = deadline - Date.now();
      if (left <= 0) {
        throw new WaitTimeoutError(`${job.jobId} is still ${job.status} (${job.phase})`);
      }
      await sleep(Math.min(pause, left), signal);
    }
  }
}

/** Whether a job has reached a status that never changes again. */
export function isOver(job: Pick<Job, 'status'>): boolean {
  return job.status === 'completed' || job.status === 'failed' || job.status === 'cancelled';
}
