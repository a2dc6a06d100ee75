import { get, type IncomingMessage, request } from 'node:http';
import type { Platform } from '../../../../src/desk/fc/platform.ts';
import type { About, Batch, Snapshot } from '../../../../src/desk/view/console/api.ts';
import { type Console, openConsole } from '../../../../src/desk/view/console/server.ts';
import { within } from '../../../helpers.ts';

/** What the console is told of what is played. */
export const about: About = {
  version: '0.0.0',
  flavour: '3.0',
  name: 'app',
  url: 'http://localhost:8080',
  invoke: 'http://localhost:8080/2023-03-30/functions/app/invocations',
  settings: [],
  memory: 512,
  cpu: 0.35,
  timeout: 10,
  instanceConcurrency: 1,
  maxInstances: 10,
  functions: [],
  curls: [],
  deployment: undefined,
  templates: [],
  timers: [],
};

export const PAGE = '<!doctype html><style>body{}</style><script>1</script>\n';

/** A console over a platform, and what a page would do. */
export interface Opened extends Console {
  readonly port: number;
  redeployed(): number;
  json(path: string): Promise<Reply>;
  post(path: string, body: unknown): Promise<Reply>;
  ask(options: Ask): Promise<Reply>;
  /** What is told from here on. */
  listen(): Promise<Feed>;
}

export interface Ask {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is what it asserts
  readonly body: any;
}

/** The events of a page. */
export interface Feed {
  readonly snapshot: Snapshot;
  readonly batches: readonly Batch[];
  /** Resolves with the first batch, earlier or later, that passes. */
  until(what: string, test: (batch: Batch) => boolean): Promise<Batch>;
  close(): void;
}

/** Opens a console. */
export async function openDesk(platform: Platform, url: string = about.url): Promise<Opened> {
  let redeployed = 0;
  const opened = await openConsole({
    platform,
    port: 0,
    about: { ...about, url },
    page: PAGE,
    redeploy: () => {
      redeployed += 1;
    },
  });
  const port = Number(new URL(opened.url).port);
  const ask = ({ method = 'GET', path, headers = {}, body }: Ask): Promise<Reply> =>
    within(
      20_000,
      new Promise((done, fail) => {
        const asked = request({
          host: '127.0.0.1',
          port,
          method,
          path,
          headers: { host: `localhost:${port}`, ...headers },
        });
        asked.on('error', fail);
        asked.on('response', response => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', chunk => (text += chunk));
          response.on('error', fail);
          response.on('end', () => {
            const isJson = /json/.test(response.headers['content-type'] ?? '');
            const { statusCode: status = 0, headers: given } = response;
            done({ status, headers: given, text, body: isJson ? JSON.parse(text) : undefined });
          });
        });
        asked.end(body);
      }),
      `${method} ${path}`,
    );
  return {
    ...opened,
    port,
    ask,
    redeployed: () => redeployed,
    json: path => ask({ path }),
    post: (path, body) =>
      ask({ method: 'POST', path, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    listen: () => within(20_000, listen(port), 'a snapshot'),
  };
}

function listen(port: number): Promise<Feed> {
  return new Promise((done, fail) => {
    const batches: Batch[] = [];
    const waiting = new Set<() => void>();
    let text = '';
    const asked = get({ host: '127.0.0.1', port, path: '/api/events', headers: { host: `localhost:${port}` } });
    asked.on('error', fail);
    asked.on('response', response => {
      response.setEncoding('utf8');
      response.on('error', () => {});
      response.on('data', (chunk: string) => {
        const parts = (text + chunk).split('\n\n');
        text = parts.pop() ?? '';
        for (const part of parts) take(part);
      });
    });
    function take(part: string): void {
      const [, event, data = ''] = /^event: (\w+)\ndata: (.*)$/s.exec(part) ?? [];
      const value: unknown = JSON.parse(data);
      if (event === 'snapshot') done(feed(value as Snapshot));
      else batches.push(value as Batch);
      for (const look of [...waiting]) look();
    }
    const feed = (snapshot: Snapshot): Feed => ({
      snapshot,
      batches,
      until: (what, test) =>
        within(
          20_000,
          new Promise(found => {
            const look = (): void => {
              const batch = batches.find(test);
              if (batch === undefined) return;
              waiting.delete(look);
              found(batch);
            };
            waiting.add(look);
            look();
          }),
          what,
        ),
      close: () => asked.destroy(),
    });
  });
}
