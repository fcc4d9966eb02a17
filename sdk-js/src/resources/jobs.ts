/** One's own jobs: submit, look, wait, results, receipt, cancel. */

import { camelize } from '../contract.js';
import type { Answer, Body, Query } from '../contract.js';
import {
  ConnectionFailedError,
  InvalidAnswerError,
  JobFailedError,
  WaitTimeoutError,
} from '../errors.js';
import { paginate } from '../listing.js';
import type { Listing } from '../listing.js';
import { readEvents } from '../sse.js';
import type { ServerEvent } from '../sse.js';
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

/** The node says something at least this often; a stream that is silent for longer is dead. */
const SILENCE_MS = 60_000;

/** Where a job stands. */
export interface JobStage {
  jobId: string;
  status: string;
  phase: string;
  progress: number;
  /** With `done`: why the job ended without a result. */
  reasonCode?: number | null;
}

/** `offset`: how many characters of the text there are up to this event. */
export type JobEvent =
  | { type: 'status' | 'done'; offset: number; data: JobStage }
  | { type: 'delta'; offset: number; data: { delta: string } }
  /** The text begins anew: what came before is void. */
  | { type: 'reset'; offset: number; data: object };

const EVENTS = new Set<string>(['status', 'delta', 'reset', 'done'] satisfies JobEvent['type'][]);

export interface StreamOptions {
  /** Begin after so many characters of the text. */
  readonly offset?: number;
  readonly signal?: AbortSignal;
}

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

  /** What a job's miner was given, whole and as the job's terms bind it. */
  getContent(
    jobId: string,
    options: CallOptions = {},
  ): Promise<Answer<'GET /v1/jobs/{jobId}/content'>> {
    return this.transport.call('GET /v1/jobs/{jobId}/content', { ...options, path: { jobId } });
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
   * A job's events as they happen, to its end: stages, and the pieces of a text as it grows.
   *
   * A connection that breaks is taken up again where it was. Throws `AITBCError`.
   */
  async *stream(
    jobId: string,
    options: StreamOptions = {},
  ): AsyncGenerator<JobEvent, void, undefined> {
    const { signal } = options;
    let { offset = 0 } = options;
    for (let failures = 0; ; ) {
      try {
        const request = { path: { jobId }, query: { offset }, signal };
        const body = await this.transport.open('GET /v1/jobs/{jobId}/stream', request);
        for await (const each of readEvents(body, SILENCE_MS)) {
          if (!EVENTS.has(each.name)) continue;
          const event = readEvent(each);
          failures = 0;
          offset = event.offset;
          yield event;
          if (event.type === 'done') return;
        }
        throw new ConnectionFailedError('the stream ended before the job', true);
      } catch (error) {
        signal?.throwIfAborted();
        failures += 1;
        await this.transport.pause(error, failures, signal);
      }
    }
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

function readEvent({ name, data, id }: ServerEvent): JobEvent {
  try {
    const offset = Number(id);
    if (id === null || !Number.isSafeInteger(offset)) throw new TypeError();
    const content = camelize(JSON.parse(data), { members: {} });
    return { type: name, offset, data: content } as JobEvent;
  } catch {
    throw new InvalidAnswerError('not an event of a job');
  }
}

/** Whether a job has reached a status that never changes again. */
export function isOver(job: Pick<Job, 'status'>): boolean {
  return job.status === 'completed' || job.status === 'failed' || job.status === 'cancelled';
}
