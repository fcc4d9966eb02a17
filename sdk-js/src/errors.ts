/**
 * Decides which error an answer of the API becomes, and what each one carries.
 *
 * Failures are problem documents (RFC 9457) whose `error_code` names the failure; on the
 * OpenAI-compatible paths the body is OpenAI's `{"error": {...}}`. A code picks the class, and
 * where a code has no class of its own the HTTP status does.
 */

/** Anything that this client throws on purpose, but for verdicts on receipts. */
export class AITBCError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** No answer came. `isSent` tells whether the request may have reached the server. */
export class ConnectionFailedError extends AITBCError {
  constructor(
    message: string,
    readonly isSent: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** No answer came in time. */
export class RequestTimeoutError extends ConnectionFailedError {}

/** The other side closed a WebSocket; `closeCode` says why. */
export class SocketClosedError extends ConnectionFailedError {
  constructor(
    message: string,
    readonly closeCode: number,
  ) {
    super(message, true);
  }
}

/** The server answered with something that is not in its contract, or is over our limits. */
export class InvalidAnswerError extends AITBCError {}

/** What was waited for did not happen in time; nothing was cancelled by that. */
export class WaitTimeoutError extends AITBCError {}

/** A job that was waited for failed or was cancelled; `job` is its last state. */
export class JobFailedError<J = unknown> extends AITBCError {
  constructor(
    message: string,
    readonly job: J,
  ) {
    super(message);
  }
}

/** A problem document, as the server sent it. */
export type Problem = Readonly<Record<string, unknown>>;

/** The server refused. `code` is the stable name of the reason, `problem` the whole document. */
export class APIError extends AITBCError {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly problem: Problem,
    /** Milliseconds to wait before the next try, where the server named them. */
    readonly retryAfter: number | null = null,
  ) {
    super(`${status} ${code}: ${detail}`);
  }

  /** What to name when asking the operator about this failure. */
  get requestId(): string | null {
    const value = this.problem['request_id'];
    return typeof value === 'string' ? value : null;
  }

  /** The failures of single members, with JSON pointers, for a schema violation. */
  get errors(): readonly { pointer: string; message: string }[] {
    const value = this.problem['errors'];
    return Array.isArray(value) ? value : [];
  }

  /** The number of the ledger's own reason, where the ledger refused a transaction. */
  get rejection(): number | null {
    const value = this.problem['rejection'];
    return typeof value === 'number' ? value : null;
  }
}

/** 400: malformed, or a request that can never be right. */
export class BadRequestError extends APIError {}
/** 400: no service is of this type. */
export class InvalidJobTypeError extends BadRequestError {}
/** 401: the API key is missing or unknown. */
export class AuthenticationError extends APIError {}
/** 402: the account cannot pay; nothing was queued. */
export class InsufficientBalanceError extends APIError {}
/** 403: the key's role may not do this. */
export class PermissionDeniedError extends APIError {}
/** 404: absent, or another account's, which looks the same. */
export class NotFoundError extends APIError {}
/** 404: no such job. */
export class JobNotFoundError extends NotFoundError {}
/** 409: the request contradicts the present state. */
export class ConflictError extends APIError {}
/** 409: the job has ended and never changes again. */
export class JobAlreadyCompletedError extends ConflictError {}
/** 409: another miner holds the lease. */
export class JobAlreadyClaimedError extends ConflictError {}
/** 409: the job has no result yet. */
export class JobNotCompletedError extends ConflictError {}
/** 409: no miner offers the model now. */
export class NoCapableMinerError extends ConflictError {}
/** 410: it existed and does not any more. */
export class GoneError extends APIError {}
/** 410: the offer was taken or withdrawn. */
export class OfferNotAvailableError extends GoneError {}
/** 413: the body is over the server's limit. */
export class TooLargeError extends APIError {}
/** 421: this key's account lives at another coordinator, which the problem names. */
export class MisdirectedError extends APIError {}
/** 422: the request breaks the schema, or reuses an idempotency key for another body. */
export class UnprocessableError extends APIError {}
/** 422: the account signs by itself: the problem holds what is to be signed. */
export class SignatureNeededError extends UnprocessableError {}
/** 429: too many requests; `retryAfter` says how long to wait. */
export class RateLimitError extends APIError {}
/** 5xx: the server's own failure. */
export class ServerError extends APIError {}
/** 503: the node is not in step with the chain, or is going down. */
export class UnavailableError extends ServerError {
  /** How many blocks the node is behind, where it says so. */
  get behindBy(): number | null {
    const value = this.problem['behind_by'];
    return typeof value === 'number' ? value : null;
  }
}

type ErrorClass = new (...given: ConstructorParameters<typeof APIError>) => APIError;

export const CLASS_OF_CODE: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ['INVALID_JOB_TYPE', InvalidJobTypeError],
  ['INSUFFICIENT_BALANCE', InsufficientBalanceError],
  ['JOB_NOT_FOUND', JobNotFoundError],
  ['JOB_ALREADY_COMPLETED', JobAlreadyCompletedError],
  ['JOB_ALREADY_CLAIMED', JobAlreadyClaimedError],
  ['JOB_NOT_COMPLETED', JobNotCompletedError],
  ['NO_CAPABLE_MINER', NoCapableMinerError],
  ['OFFER_NOT_AVAILABLE', OfferNotAvailableError],
  ['RATE_LIMIT_EXCEEDED', RateLimitError],
  ['SIGNATURE_NEEDED', SignatureNeededError],
]);

export const CLASS_OF_STATUS: ReadonlyMap<number, ErrorClass> = new Map<number, ErrorClass>([
  [400, BadRequestError],
  [401, AuthenticationError],
  [402, InsufficientBalanceError],
  [403, PermissionDeniedError],
  [404, NotFoundError],
  [409, ConflictError],
  [410, GoneError],
  [413, TooLargeError],
  [421, MisdirectedError],
  [422, UnprocessableError],
  [429, RateLimitError],
  [503, UnavailableError],
]);

/** The error for an answer of status 400 or above; `body` is what its JSON held. */
export function buildApiError(status: number, body: unknown, retryAfter: number | null): APIError {
  let problem = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const inner = problem['error'];
  if (typeof inner === 'object' && inner !== null) {
    const { code, message } = inner as Record<string, unknown>; // OpenAI's shape
    problem = { ...inner, error_code: code, detail: message };
  }
  const code = problem['error_code'];
  const detail = problem['detail'] ?? problem['title'] ?? 'no detail given';
  const name = typeof code === 'string' && code !== '' ? code : `HTTP_${status}`;
  const byStatus = CLASS_OF_STATUS.get(status) ?? (status >= 500 ? ServerError : APIError);
  const kind = CLASS_OF_CODE.get(name) ?? byStatus;
  return new kind(status, name, String(detail), problem, retryAfter);
}
