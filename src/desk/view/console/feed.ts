import type { ServerResponse } from 'node:http';
import type { About } from './api.ts';
import type { Model } from './model.ts';

/** So often at most whoever looks is told what has changed. */
const BATCH_MS = 50;
/** So often what instances use is looked at. */
const MEASURE_MS = 1000;
/** Of one that does not read, bytes: it is cut off, and gets a new snapshot when it comes again. */
const MOST_UNREAD = 16 * 1024 * 1024;

/** Tells all who look at the page. */
export interface Feed {
  /** Takes an answer over, as a stream of server-sent events. */
  add(res: ServerResponse): void;
  close(): void;
}

/** Makes a feed. Nothing is done while nobody looks. */
export function createFeed(model: Model, about: About): Feed {
  const clients = new Set<ServerResponse>();
  let due: NodeJS.Timeout | undefined;
  let measure: NodeJS.Timeout | undefined;

  model.onChange(() => {
    if (clients.size > 0) due ??= setTimeout(flush, BATCH_MS);
  });

  function flush(): void {
    clearTimeout(due);
    due = undefined;
    const batch = model.batch();
    if (batch !== undefined) for (const client of clients) tell(client, 'batch', batch);
  }

  function tell(client: ServerResponse, event: string, data: unknown): void {
    client.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    if (client.writableLength > MOST_UNREAD) client.destroy();
  }

  function remove(client: ServerResponse): void {
    clients.delete(client);
    if (clients.size > 0) return;
    clearInterval(measure);
    measure = undefined;
  }

  return {
    add(client) {
      // what has changed so far is in the snapshot, and must not come again
      flush();
      model.instances.measure();
      client.writeHead(200, { 'content-type': 'text/event-stream' });
      tell(client, 'snapshot', { ...model.snapshot(), about });
      clients.add(client);
      client.on('close', () => remove(client));
      measure ??= setInterval(() => {
        model.instances.measure();
        flush();
      }, MEASURE_MS);
    },
    close() {
      clearTimeout(due);
      clearInterval(measure);
      for (const client of clients) client.destroy();
    },
  };
}
