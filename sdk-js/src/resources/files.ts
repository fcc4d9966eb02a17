/** Files that jobs read. */

import type { Answer, Query } from '../contract.js';
import { paginate } from '../listing.js';
import type { Listing } from '../listing.js';
import type { CallOptions } from '../transport.js';
import { Resource } from './resource.js';

export type StoredFile = Answer<'POST /v1/files'>;
export type FileList = Answer<'GET /v1/files'>;

export class Files extends Resource {
  /** Store a file; its `fileId` stands wherever a job takes a URL. */
  upload(content: Blob | Uint8Array, name: string, options: CallOptions = {}): Promise<StoredFile> {
    const form = new FormData();
    const blob = content instanceof Blob ? content : new Blob([content.slice()]);
    form.set('file', blob, name);
    return this.transport.call('POST /v1/files', { ...options, body: form });
  }

  /** One's own files, newest first. */
  list(
    query: Query<'GET /v1/files'> = {},
    options: CallOptions = {},
  ): Listing<FileList, FileList['files'][number]> {
    return paginate(
      query,
      (paged) => this.transport.call('GET /v1/files', { ...options, query: paged }),
      (page) => page.files,
    );
  }

  download(fileId: string, options: CallOptions = {}): Promise<Uint8Array> {
    return this.transport.download('GET /v1/files/{fileId}', { ...options, path: { fileId } });
  }

  async delete(fileId: string, options: CallOptions = {}): Promise<void> {
    await this.transport.call('DELETE /v1/files/{fileId}', { ...options, path: { fileId } });
  }
}
