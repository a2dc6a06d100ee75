import { join } from 'node:path';
import { createPlatform, type Platform } from '../../../src/desk/fc/platform.ts';
import type { FunctionOptions } from '../../../src/desk/fc/settings.ts';
import { temporary, write } from '../../helpers.ts';

/** A server that behaves as its environment says, and prints what it hears. */
const SOURCE = `
const http = require('node:http');
const env = process.env;
const wait = ms => new Promise(done => setTimeout(done, Number(ms)));
const server = http.createServer(async (req, res) => {
  const control = req.headers['x-fc-control-path'] ?? '-';
  const chunks = [];
  req.on('aborted', () => console.log('aborted', req.url));
  req.socket.on('error', error => console.log('socket', error.code));
  if (!req.url.startsWith('/unread')) for await (const chunk of req) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  console.log('saw', req.method, req.url, control, req.headers['x-fc-request-id'] ?? '-', req.headers['x-fc-retry-count'] ?? '-', body.length);
  if (env.EXIT_ON === req.url) process.exit(7);
  if (control === '/initialize') { await wait(env.INIT_MS ?? 0); res.statusCode = Number((env.INIT_STATUS ?? '200').split(',')[Math.min(inits++, (env.INIT_STATUS ?? '200').split(',').length - 1)]); return res.end('init says so'); }
  if (control === '/pre-freeze' || control === '/pre-stop') { await wait(env.HOOK_MS ?? 0); res.statusCode = Number(env.HOOK_STATUS ?? 200); return res.end(); }
  if (req.url === '/health') { res.statusCode = sick ? 500 : 200; return res.end(); }
  if (req.url === '/sick') { sick = true; setTimeout(() => { sick = false; }, 6000); return res.end('sick'); }
  const url = new URL(req.url, 'http://x');
  const q = url.searchParams;
  if (control === '/invoke' && body.length > 0) for (const [k, v] of Object.entries(JSON.parse(body))) q.set(k, v);
  if (q.has('sleep')) await wait(q.get('sleep'));
  if (q.has('exit')) process.exit(Number(q.get('exit')));
  if (q.has('status')) res.statusCode = Number(q.get('status'));
  for (const pair of q.getAll('header')) { const [k, v] = pair.split(':'); res.setHeader(k, v); }
  if (q.has('half')) { res.write('half'); await wait(50); return res.destroy(); }
  if (q.has('stream')) { res.write('first'); await wait(q.get('stream')); return res.end('last'); }
  if (q.has('bytes')) return res.end(Buffer.alloc(Number(q.get('bytes')), 'x'));
  if (q.has('headers')) return res.end(JSON.stringify(req.rawHeaders));
  if (q.has('ticks')) return res.end(String(ticks));
  if (q.has('env')) return res.end(JSON.stringify(env));
  res.end(q.get('body') ?? body);
});
let inits = 0, sick = false;
if (env.KEEP_ALIVE_MS !== undefined) server.keepAliveTimeout = Number(env.KEEP_ALIVE_MS); else { server.keepAliveTimeout = 0; }
server.on('upgrade', (req, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n');
  socket.pipe(socket); socket.on('error', () => {});
});
let ticks = 0; if (env.TICK !== undefined) setInterval(() => { ticks += 1; }, 10);
if (env.STUBBORN !== undefined) process.on('SIGTERM', () => console.log('SIGTERM')); else process.on('SIGTERM', () => process.exit(0));
if (env.CHILD !== undefined) require('node:child_process').spawn('sleep', ['60'], { detached: true, stdio: 'ignore' });
if (env.EXIT_AT_START !== undefined) { console.error('cannot start'); process.exit(Number(env.EXIT_AT_START)); }
setTimeout(() => { if (env.SILENT === undefined) server.listen(Number(env.FC_CUSTOM_LISTEN_PORT), env.HOST ?? '0.0.0.0', () => console.log('up')); else { console.log('never listens'); setInterval(() => {}, 1000); } }, Number(env.LATE_MS ?? 0));
`;

/** A platform with such a server. What it says is in the life's `log` events. */
export function platformOf(environment: Record<string, string> = {}, options: Partial<FunctionOptions> = {}): Platform {
  const file = join(temporary(), 'server.js');
  write(file, SOURCE);
  return createPlatform({ timeout: 10, ...options, command: [process.execPath, file], environment });
}

/** Runs a test's body with a platform, and leaves no process behind. */
export async function withPlatform(
  environment: Record<string, string>,
  options: Partial<FunctionOptions>,
  body: (fc: Platform) => Promise<void>,
): Promise<void> {
  const fc = platformOf(environment, options);
  try {
    await body(fc);
  } catch (error) {
    const told = fc.life.events.slice(-30).map(event => JSON.stringify(event));
    if (error instanceof Error) error.message += `\n--- the platform\n${told.join('\n')}`;
    throw error;
  } finally {
    for (const instance of fc.instances()) instance.thaw();
    await fc.stop();
  }
}

/** The lines that the server has printed so far. */
export const printed = (fc: Platform): string[] =>
  fc.life.events.filter(({ event }) => event === 'log').map(({ line }) => String(line));
