import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { ask, eventually, type Server, type ServerOptions } from '../helpers.ts';
import { MARK, type Row } from './table.ts';

/** Most of a URL that is noted. */
const NOTED = 400;

/** Notes each request when it comes, under its mark, and tells of it when all of it has come. */
const TELL = `
  exports.handler = async (ctx, req, res) => {
    const [mark = 'no mark'] = /mark-[a-z]\\d{3}/.exec(req.url + ' ' + req.rawHeaders.join(' ')) || [];
    console.log(('saw ' + mark + ' ' + req.method + ' ' + req.url).slice(0, ${NOTED}));
    let bytes = 0;
    for await (const chunk of req) bytes += chunk.length;
    const hosts = req.rawHeaders.filter((value, i) => i % 2 === 1 && /^host$/i.test(req.rawHeaders[i - 1]));
    res.writeHead(200, { 'x-told': [req.method, req.url, hosts.join('+'), bytes].join(' ') });
    res.end('told');
  };`;

/** A server whose function tells what it was asked. */
export const OPTIONS: ServerOptions = {
  functions: { tell: TELL },
  overrides: { tell: { worker: { maxActivateRequests: 200, replicaCountLimit: 1 } } },
  profile: { dispatchHeader: 'x-dispatch', routes: [{ path: '/by/:name', function: ':name' }, { function: 'tell' }] },
  env: { SERVER_AGENT: 'local', SERVER_MAX_BODY: String(1024 * 1024) },
};

/** A row with a mark of its own. */
export interface MarkedRow extends Row {
  readonly mark: string;
  /** What another request is sent as, and is told to the function as. */
  readonly sentinel: string;
}

/** Gives each row a mark. @param letter - of the run: the same server may see the rows more than once. */
export function withMarks(rows: readonly Row[], letter: string): MarkedRow[] {
  return rows.map((row, i) => {
    const mark = `mark-${letter}${String(i).padStart(3, '0')}`;
    const fill = (text: string): string => text.replaceAll(MARK, mark);
    return {
      ...row,
      mark,
      bytes: fill(row.bytes),
      answers: row.answers.map(fill),
      ...(row.or === undefined ? {} : { or: { ...row.or, answers: row.or.answers.map(fill) } }),
      sentinel: `/sentinel?${mark}`,
    };
  });
}

/** Works on items, so many at a time, and says of each that failed why. */
export async function faultsOf(
  rows: readonly MarkedRow[],
  atATime: number,
  check: (row: MarkedRow) => Promise<void>,
): Promise<string[]> {
  const queue = [...rows];
  const faults: string[] = [];
  const work = async (): Promise<void> => {
    for (let row = queue.shift(); row !== undefined; row = queue.shift()) {
      const { mark, name, rfc } = row;
      await check(row).catch((error: Error & { details?: string }) => {
        faults.push(`${mark} ${name} (${rfc}): ${error.message} ${error.details ?? ''}`);
      });
    }
  };
  await Promise.all(Array.from({ length: atATime }, work));
  return faults;
}

/** What the function was asked, in order, by mark: method and URL. */
export function seenBy(server: Server): Map<string, string[]> {
  const seen = new Map<string, string[]>();
  for (const { message } of server.lines()) {
    const [, mark = '', request = ''] = /^saw (mark-\w+|no mark) (.*)$/.exec(message) ?? [];
    if (mark === '') continue;
    const requests = seen.get(mark) ?? [];
    requests.push(request);
    seen.set(mark, requests);
  }
  return seen;
}

/** Resolves when all that the function has been asked is in the log. */
export async function untilSeen(server: Server): Promise<void> {
  const path = `/ordinary?${Math.random()}`;
  const reply = await ask(server.port, { path });
  assert.is(reply.status, 200);
  await server.line('an ordinary request', ({ message }) => message === `saw no mark GET ${path}`);
}

/** Expects a server that has got over all of it. @param sockets - as many as it had before, by `socketsOf`. */
export async function expectUnharmed(server: Server, sockets: number): Promise<void> {
  const reply = await ask(server.port, { path: '/after' });
  assert.is(reply.headers['x-told'], `GET /after 127.0.0.1:${server.port} 0`);
  assert.not.match(server.output(), /uncaught|internal error|"INTERNAL"/i);
  const unmarked = seenBy(server).get('no mark') ?? [];
  assert.equal(
    unmarked.filter(request => !/^GET \/(ordinary\?|after$)/.test(request)),
    [],
  );
  await eventually('all connections to be closed', async () => socketsOf(server) <= sockets);
}

/** Descriptors of a server that are sockets; 0 where nobody tells. */
export function socketsOf({ pid }: Pick<Server, 'pid'>): number {
  if (process.platform !== 'linux') return 0;
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).filter(name => {
    try {
      return readlinkSync(join(folder, name)).startsWith('socket:');
    } catch {
      return false; // closed meanwhile
    }
  }).length;
}
