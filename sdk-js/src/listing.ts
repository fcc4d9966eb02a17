/** A list of the API: awaited it is its first page, iterated it is every item of all pages. */

interface PageOf {
  readonly nextCursor?: string | null;
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
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for await (const page of this.pages()) yield* this.getItems(page);
  }
}
