/** Decides how a stream of events (`text/event-stream`) is read. */

import { ConnectionFailedError, InvalidAnswerError } from './errors.js';

/** Characters of one event; a job's whole text may be in one. */
const MAX_EVENT = 4 * 1024 * 1024;

export interface ServerEvent {
  name: string;
  data: string;
  /** Where a later request goes on, if the event says so. */
  id: string | null;
}

/**
 * The events of a body, as they come. Throws `ConnectionFailedError` where it breaks off or says
 * nothing for so many milliseconds, `InvalidAnswerError` where an event has no end.
 */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  silence: number,
): AsyncGenerator<ServerEvent, void, undefined> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  let event: ServerEvent = { name: 'message', data: '', id: null };
  let hasData = false;
  try {
    for (;;) {
      const { done, value } = await readInTime(reader, silence);
      text += decoder.decode(value, { stream: !done });
      const lines = text.split(/\r\n|\n|\r(?!$)/);
      text = lines.pop() as string;
      for (const line of lines) {
        if (line === '') {
          if (hasData) yield { ...event, data: event.data.slice(0, -1) };
          event = { name: 'message', data: '', id: null };
          hasData = false;
          continue;
        }
        const [, field, content] = /^([^:]*):? ?(.*)$/s.exec(line) as string[];
        if (field === 'event') event.name = content as string;
        else if (field === 'id') event.id = content as string;
        else if (field === 'data') {
          event.data += `${content}\n`;
          hasData = true;
        }
      }
      if (text.length + event.data.length > MAX_EVENT) {
        throw new InvalidAnswerError('an event of the stream is too long');
      }
      if (done) return;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

async function readInTime(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  silence: number,
): Promise<{ done: boolean; value?: Uint8Array | undefined }> {
  let handle: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    handle = setTimeout(
      () => reject(new ConnectionFailedError('the stream is silent', true)),
      silence,
    );
  });
  try {
    return await Promise.race([reader.read(), late]);
  } catch (error) {
    if (error instanceof ConnectionFailedError) throw error;
    throw new ConnectionFailedError(`the stream broke off: ${String(error)}`, true, {
      cause: error,
    });
  } finally {
    clearTimeout(handle);
  }
}
