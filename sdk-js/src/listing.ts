/** A list of the API: awaited it is its first page, iterated it is every item of all pages. */

import { InvalidAnswerError } from './errors.js';

interface PageOf {
  readonly nextCursor?: string | null;
}

/** A list that is asked for with a query; the next page's differs by its cursor. */
export function paginate<Q extends object, P extends PageOf, T>(
  query: Q,
  fetchPage: (query: Q) => Promise<P>,
  getItems: (page: P) => readonly T[],
): Listing<P, T> {
  return new Listing(
    // An offset counts from the list's beginning, a cursor takes its place.
    (cursor) => fetchPage(cursor === undefined ? query : { ...query, cursor, offset: undefined }),
    getItems,
  );
}

/** `fetchPage` fetches a page from a cursor on; `getItems` picks the items out of it. */
export class Listing<P extends PageOf, T> implements Promise<P>, AsyncIterable<T> {
  readonly [Symbol.toStringTag] = 'Listing';

  constructor(
    private readonly fetchPage: (cursor: string | undefined) => Promise<P>,
    private readonly getItems: (page: P) => readonly T[],
  ) {}

  then<R = P, S = never>(
    onPage?: ((page: P) => R | PromiseLike<R>) | null,
    onError?: ((reason: unknown) => S | PromiseLike<S>) | null,
  ): Promise<R | S> {
    return this.fetchPage(undefined).then(onPage, onError);
  }

  catch<S = never>(
    onError?: ((reason: unknown) => S | PromiseLike<S>) | null,
  ): Promise<P | S> {
    return this.then(undefined, onError);
  }

  finally(onEnd?: (() => void) | null): Promise<P> {
    return this.then().finally(onEnd);
  }

  /** Every page, each fetched when it is asked for. */
  async *pages(): AsyncGenerator<P, void, undefined> {
    let cursor: string | undefined;
    do {
      const page = await this.fetchPage(cursor);
      yield page;
      const next = page.nextCursor ?? undefined;
      if (next !== undefined && next === cursor) {
        throw new InvalidAnswerError('the list does not go on: its cursor names the same page');
      }
      cursor = next;
    } while (cursor !== undefined);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for await (const page of this.pages()) yield* this.getItems(page);
  }
}
