import type { Transport } from '../transport.js';

/** A branch of the client's tree. */
export class Resource {
  constructor(protected readonly transport: Transport) {}
}
