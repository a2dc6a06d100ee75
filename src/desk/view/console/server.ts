import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createNetServer, type Socket } from 'node:net';
import { FcError } from '../../fc/answers.ts';
import { collect } from '../../fc/limits.ts';
import type { Platform } from '../../fc/platform.ts';
import { listen } from '../../fc/port.ts';
import type { About } from './api.ts';
import { createFeed } from './feed.ts';
import { createModel } from './model.ts';
import { object, Refused } from './reader.ts';
import { MOST_SENT, readChange, readSending, replay, send } from './send.ts';

/** Names of this machine that a browser may know it by. Any other one may be somebody's that leads here. */
const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];

/** The page in the browser. */
export interface Console {
  readonly url: string;
  close(): void;
}

/** What the console is made of. */
export interface ConsoleOptions {
  readonly platform: Platform;
  /** 0 takes a free one. */
  readonly port: number;
  readonly about: About;
  /** The page: one text that loads nothing. */
  readonly page: string;
  /** Has new instances take over, as after a deployment. */
  redeploy(): void;
}

/** What a request is answered with: JSON, the page, or a stream. */
type Handle = (match: readonly string[], req: IncomingMessage, res: ServerResponse) => unknown;

/**
 * Opens the console, on this machine's own addresses alone: pages of other origins can neither read nor drive it.
 *
 * @throws {Error} rejected, with node:net's code: the port cannot be had.
 */
export async function openConsole({ platform, port, about, page, redeploy }: ConsoleOptions): Promise<Console> {
  const model = createModel(platform);
  const feed = createFeed(model, about);
  const policy = policyOf(page);

  const call = (id: string): NonNullable<ReturnType<typeof model.calls.find>> => {
    const kept = model.calls.find(id);
    if (kept === undefined) throw new Refused(404, `call ${id}: there is none, or it is not kept any more`);
    return kept;
  };
  const unknownInstance = (id: string): Refused =>
    new Refused(404, `instance ${id}: expected one that is running, or one of the last that were`);

  function act(id: string, action: string): void {
    const instance = platform.instances().find(one => one.id === id);
    if (instance === undefined) throw unknownInstance(id);
    if (action === 'stop') instance.stop('stopped by hand');
    else if (action === 'freeze' || action === 'thaw' || action === 'crash') instance[action]();
    else throw new Refused(404, `${action}: expected freeze, thaw, crash or stop`);
  }

  function scale(body: unknown): void {
    const { count } = object(body, 'body');
    const { maxInstances } = platform.settings;
    if (typeof count !== 'number' || !Number.isInteger(count) || count < 0 || count > maxInstances) {
      throw new Refused(400, `count: expected a whole number from 0 to ${maxInstances}`);
    }
    platform.scale(count).catch(error => {
      // it is told in the instance's life
      if (!(error instanceof FcError)) throw error;
    });
  }

  const routes: readonly (readonly ['GET' | 'POST', RegExp, Handle])[] = [
    ['GET', /^\/$/, (_, __, res) => void sendPage(res, page, policy)],
    ['GET', /^\/api\/events$/, (_, __, res) => void feed.add(res)],
    [
      'GET',
      /^\/api\/calls\/([^/]+)$/,
      ([id = '']) => {
        call(id);
        return model.detail(id, about);
      },
    ],
    [
      'GET',
      /^\/api\/instances\/([^/]+)\/log(?:\?after=(\d+))?$/,
      ([id = '', after = '0']) => {
        const found = model.instances.log(id, Number(after));
        if (found === undefined) throw unknownInstance(id);
        return found;
      },
    ],
    ['GET', /^\/api\/costs$/, () => model.costs()],
    ['POST', /^\/api\/send$/, async (_, req) => send(platform, readSending(await readJson(req)))],
    [
      'POST',
      /^\/api\/calls\/([^/]+)\/replay$/,
      async ([id = ''], req) => replay(platform, call(id), readChange(await readJson(req))),
    ],
    [
      'POST',
      /^\/api\/instances\/([^/]+)\/(\w+)$/,
      async ([id = '', action = ''], req) => {
        await readJson(req);
        return act(id, action);
      },
    ],
    ['POST', /^\/api\/scale$/, async (_, req) => scale(await readJson(req))],
    [
      'POST',
      /^\/api\/redeploy$/,
      async (_, req) => {
        await readJson(req);
        return redeploy();
      },
    ],
  ];

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { method = '', url = '' } = req;
    try {
      refuseStrangers(req, chosen);
      const paths = routes.filter(([, pattern]) => pattern.test(url));
      if (paths.length === 0) throw new Refused(404, `${url.split('?', 1)[0]}: there is no such thing`);
      const route = paths.find(([wanted]) => wanted === method);
      if (route === undefined) throw new Refused(405, `${method}: expected ${paths.map(([wanted]) => wanted)}`);
      const [, pattern, handle] = route;
      const [, ...groups] = pattern.exec(url) ?? [];
      const given = await handle(groups.filter(group => group !== undefined).map(decoded), req, res);
      if (!res.headersSent) sendJson(res, 200, given ?? {});
    } catch (error) {
      // a connection that is closed with bytes unread is reset, and its peer may lose the answer
      req.resume();
      if (error instanceof Refused) sendJson(res, error.status, { error: error.message });
      else sendJson(res, 500, { error: `a fault of the console: ${(error as Error).stack}` });
    }
  }

  let chosen = port;
  const sockets = new Set<Socket>();
  const server = createServer((req, res) => {
    res.on('error', () => {});
    req.on('error', () => {});
    for (const [name, value] of HEADERS) res.setHeader(name, value);
    answer(req, res);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await listen(server, '127.0.0.1', port);
  chosen = (server.address() as AddressInfo).port;
  // some browsers know localhost by its IPv6 address alone
  const sixth = createNetServer(socket => server.emit('connection', socket));
  await listen(sixth, '::1', chosen).catch(() => {});
  return {
    url: `http://localhost:${chosen}`,
    close() {
      feed.close();
      server.close();
      sixth.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Nothing is kept by the browser, shown within another page, or given to one. */
const HEADERS: readonly (readonly [string, string])[] = [
  ['cache-control', 'no-store'],
  ['cross-origin-resource-policy', 'same-origin'],
  ['referrer-policy', 'no-referrer'],
  ['x-content-type-options', 'nosniff'],
  ['x-frame-options', 'DENY'],
];

/**
 * Refuses what a web page elsewhere has a browser send.
 *
 * @throws {Refused} 403: the name that we were asked by, or the page that asks, is not ours.
 */
function refuseStrangers({ headers, method }: IncomingMessage, port: number): void {
  const hosts = LOOPBACK.map(name => `${name}:${port}`);
  const { host = '', origin, 'sec-fetch-site': site } = headers;
  // a name that somebody has made lead to this machine
  if (!hosts.includes(host.toLowerCase())) {
    throw new Refused(403, `host "${host}": expected ${hosts.join(', ')}`);
  }
  if (origin !== undefined && !hosts.some(name => origin.toLowerCase() === `http://${name}`)) {
    throw new Refused(403, `origin "${origin}": expected the console's own page`);
  }
  // a link that leads here is no danger: it shows the page, and reads nothing
  const isLink = method === 'GET' && headers['sec-fetch-mode'] === 'navigate';
  if (site !== undefined && site !== 'same-origin' && site !== 'none' && !isLink) {
    throw new Refused(403, `request from a page that is ${site}: expected the console's own page`);
  }
}

/** What the page may do: run its own code, and speak to us. */
function policyOf(page: string): string {
  const hash = (tag: string): string => {
    const [, text = ''] = new RegExp(`<${tag}>(.*?)</${tag}>`, 's').exec(page) ?? [];
    return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  };
  return [
    "default-src 'none'",
    `script-src ${hash('script')}`,
    `style-src ${hash('style')}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

function sendPage(res: ServerResponse, page: string, policy: string): void {
  res.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': policy });
  res.end(page);
}

function sendJson(res: ServerResponse, status: number, value: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json' });
  res.end(`${JSON.stringify(value)}\n`);
}

/** Reads a request's JSON. Its type keeps forms of other pages out. @throws {Refused} rejected. */
async function readJson(req: IncomingMessage): Promise<unknown> {
  if (!/^application\/json\b/i.test(req.headers['content-type'] ?? '')) {
    throw new Refused(415, 'content-type: expected application/json');
  }
  const bytes = await collect(req, MOST_SENT).catch(error => {
    throw error instanceof FcError ? new Refused(413, error.message) : new Refused(400, 'body: it broke off');
  });
  try {
    return JSON.parse(String(bytes));
  } catch (error) {
    throw new Refused(400, `body: expected JSON: ${(error as Error).message}`);
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Refused(400, 'path: expected percent-encoding that can be decoded');
  }
}
