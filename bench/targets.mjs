// What is measured. To add a target: a file in `targets/` that listens on 127.0.0.1:PORT and answers with what the
// function FUNCTION of the data plane at DATA_PLANE answers (or with what it was sent), and a line here.
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { dataPlane, folder } from './planes.mjs';
import { freePort, start } from './process.mjs';

/** A launch of a target: its process, which may not listen yet, and its port. */
const file = (name, env) => async () => {
  const port = await freePort();
  return { child: start(`bench/targets/${name}`, { env: { PORT: String(port), ...env } }), port };
};

const withPlane = name => call => file(name, { DATA_PLANE: dataPlane, FUNCTION: call });

/** Ours, with one route to the function: of the planes, or of a folder that the local agent can run. */
const ours = (agent, env) => call => gateway(agent, { routes: [{ path: '/*', function: call }] }, env);

/** As shipped: a line for each request, through a pipe as FC has it. */
const LOGGING = { SERVER_LOG: 'json' };

let configs = 0;

/** The functions: the planes' doubles answer such names by themselves, and others run the code. */
const NAMES = ['@echo', '@source', '@sink', '@hello'];
const functionsOf = (names, more) =>
  names.map(name => ({
    name,
    runtime: 'nodejs',
    url: pathToFileURL(join(process.cwd(), 'bench/functions', name.replace('@', ''))).href,
    handler: 'index.handler',
    signature: '1',
    ...more,
  }));
/** Where code is run: a worker that takes all of a load. */
const RUN = { worker: { reservationCount: 1, maxActivateRequests: 1000 } };

/**
 * Launches our server.
 *
 * @param profile - fields of noslate.json that differ from those for the calls below.
 */
export function gateway(agent, profile, env = {}) {
  const isLocal = agent === 'local';
  const functions = isLocal
    ? functionsOf(
        NAMES.map(name => name.slice(1)),
        RUN,
      )
    : functionsOf(NAMES);
  const routes = profile.routes?.map(route => ({
    ...route,
    function: isLocal ? route.function.slice(1) : route.function,
  }));
  const config = join(folder, `${configs++}.json`);
  writeFileSync(config, JSON.stringify({ functions, ...profile, ...(routes && { routes }) }));
  return async () => {
    const port = await freePort();
    const settings = {
      SERVER_AGENT: agent,
      SERVER_CONFIG: config,
      SERVER_HOST: '127.0.0.1',
      SERVER_PORT: String(port),
      SERVER_LOG: 'off',
      NOSLATED_WORKDIR: folder,
      ...env,
    };
    const isLogging = settings.SERVER_LOG !== 'off';
    const child = start('dist/server.js', { env: settings, ...(isLogging && { stdio: 'pipe' }) });
    child.stdout?.resume();
    return { child, port };
  };
}

/**
 * By name: the title, `launch(call)` with the function to be called, and what it takes part in: `cold`, `load`, `stream`.
 * Without a plane there is no `stream`; `floor` is what the others are measured by.
 */
export const targets = {
  floor: { title: 'node:http, an echo', launch: () => file('floor.js', {}), in: ['cold', 'load'] },
  pipe: {
    title: 'node:http2 piped to node:http',
    launch: () => file('pipe-h2.js', { DATA_PLANE: dataPlane }),
    in: ['stream'],
  },
  hop: {
    title: 'node:http and one hop',
    launch: () => file('hop.js', { HOP: join(folder, 'hop.sock') }),
    in: ['load'],
  },
  native: { title: 'noslate-fc, native', launch: ours('native'), in: ['cold', 'load', 'stream'], isOurs: true },
  nativeLog: { title: 'noslate-fc, native, with its log', launch: ours('native', LOGGING), in: ['load'], isOurs: true },
  local: { title: 'noslate-fc, local', launch: ours('local'), in: ['cold', 'load'], isOurs: true },
  http2: { title: 'node:http + node:http2', launch: withPlane('http2.js'), in: ['cold', 'load', 'stream'] },
  fastify: { title: 'Fastify 5 + grpc-js', launch: withPlane('fastify.js'), in: ['cold', 'load', 'stream'] },
  express: { title: 'Express 5 + grpc-js', launch: withPlane('express.js'), in: ['cold', 'load', 'stream'] },
  framework: { title: 'Functions Framework 5', launch: () => file('functions-framework.js', {}), in: ['cold', 'load'] },
};

/**
 * With NOSLATE_PATH: its SDK behind Express, and behind our server. On the doubles, or with NOSLATED_WORKDIR on the planes
 * of a running Noslate, which are not told to stand still: no streams there. Tried on the SDK's stand-in,
 * `NOSLATE_PATH=dist-test/sdk/noslate`, which runs the functions in the target's own process; not tried on Noslate.
 */
const { NOSLATE_PATH, NOSLATED_WORKDIR } = process.env;
if (NOSLATE_PATH !== undefined) {
  const workdir = NOSLATED_WORKDIR ?? folder;
  const env = { NOSLATE_PATH: resolve(NOSLATE_PATH), NOSLATED_WORKDIR: workdir, NOSLATE_LOGDIR: join(folder, 'logs') };
  const functions = functionsOf(NAMES, RUN);
  const through = agent => call => gateway(agent, { functions, routes: [{ path: '/*', function: call }] }, env);
  const express = call => file('sdk-express.js', { ...env, FUNCTION: call, PROFILES: JSON.stringify(functions) });
  const parts = ['cold', 'load', ...(NOSLATED_WORKDIR === undefined ? ['stream'] : [])];
  Object.assign(targets, {
    sdk: { title: 'noslate-fc, sdk', launch: through('sdk'), in: parts, isOurs: true },
    sdkExpress: { title: "Express 5 + Noslate's SDK", launch: express, in: parts },
  });
  if (NOSLATED_WORKDIR !== undefined)
    targets.noslate = { title: 'noslate-fc, native, on Noslate', launch: through('native'), in: parts, isOurs: true };
}

/** Those that take part. */
export const taking = part => Object.keys(targets).filter(name => targets[name].in.includes(part));
