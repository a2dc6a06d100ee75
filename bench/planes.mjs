// The planes and the gateways that are measured against each other.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, start, within } from './process.mjs';

/** Longest start of the planes, ms. */
const START_MS = 20_000;

/** What is left behind: sockets and configuration. */
const folder = mkdtempSync(join(tmpdir(), 'noslate-fc-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const DATA_PLANE = join(folder, 'socks/dp-0.sock');
const SOURCE = join(folder, 'source.sock');

/** Functions that the test planes serve by themselves. The control plane is told of all, whichever is routed to. */
const FUNCTIONS = ['@echo', '@source', '@sink'].map(name => ({
  name,
  runtime: 'nodejs',
  url: folder,
  handler: 'index.handler',
  signature: '1',
}));

/** Starts a process with test planes that heed backpressure, and resolves when they accept. */
export async function startPlanes() {
  const knobs = { lateSocketMs: 0, lateProfilesMs: 0, slowReaderMs: 0, heedBackpressure: true, unhealthy: false };
  const options = { workdir: folder, planes: ['dp-0', 'cp-0'], knobs };
  const child = start('dist-test/planes/main.js', { args: [JSON.stringify(options)], stdio: 'ipc' });
  const heard = () => within(START_MS, new Promise(done => child.once('message', done)), 'the planes');
  await heard();
  return {
    child,
    async setKnobs(changed) {
      const done = heard();
      child.send({ id: 1, command: 'knobs', knobs: changed });
      await done;
    },
  };
}

/** Starts the unix socket that gives so many bytes to each connection. */
export function startSource(bytes) {
  return start('bench/targets/source.js', { env: { SOURCE, BYTES: String(bytes) } });
}

/** `launch(name)` of a target: a process, which may not listen yet, and its port. */
function target(file, env) {
  return async () => {
    const port = await freePort();
    return { child: start(file, { env: { PORT: String(port), ...env } }), port };
  };
}

/** Ours, with one route to the function. */
export function gateway(agent, name) {
  const config = join(folder, `${name}.json`);
  writeFileSync(config, JSON.stringify({ functions: FUNCTIONS, routes: [{ path: '/*', function: name }] }));
  return async () => {
    const port = await freePort();
    const env = {
      SERVER_AGENT: agent,
      SERVER_CONFIG: config,
      SERVER_HOST: '127.0.0.1',
      SERVER_PORT: String(port),
      SERVER_LOG: 'off',
      NOSLATED_WORKDIR: folder,
    };
    return { child: start('dist/server.js', { env }), port };
  };
}

/** node:http alone: an echo. */
export const floor = target('bench/targets/floor.js', {});

/** Express and grpc-js, with one function. */
export const rival = name => target('bench/targets/express.js', { DATA_PLANE, FUNCTION: name });

/** node:http alone, which pipes from the unix socket of `startSource`. */
export const pipe = target('bench/targets/pipe.js', { SOURCE });

/** node:http and node:http2 alone, which pipe so many bytes of the data plane's. */
export const pipeH2 = bytes => target('bench/targets/pipe-h2.js', { DATA_PLANE, BYTES: String(bytes) });
