import { join, resolve } from 'node:path';
import type { Agent } from '../src/agent.ts';
import { createLocalAgent } from '../src/local/agent.ts';
import type { Log } from '../src/log.ts';
import { createNativeAgent } from '../src/noslate/agent.ts';
import { createSdkAgent } from '../src/sdk/agent.ts';
import { eventually, type LogLine, SERVER_FILE, type Server, type ServerOptions, startServer } from './helpers.ts';
import { type PlanesOptions, startPlanes } from './planes/index.ts';

/** What a gateway can have behind it. What a request can count on holds with each of them. */
export const ALL_AGENTS = ['local', 'native', 'sdk'] as const;
export type AgentName = (typeof ALL_AGENTS)[number];

/** Those to test: all, or as many of them as TEST_AGENTS names. */
export const AGENTS: readonly AgentName[] = ALL_AGENTS.filter(name =>
  (process.env['TEST_AGENTS'] ?? name).split(',').includes(name),
);

/** A package with the habits of Noslate's SDK, which runs functions by itself. */
const SDK = resolve('dist-test/sdk/noslate');

/** What an agent needs beside the gateway. */
export interface Surroundings {
  env: Record<string, string>;
  /** What functions have printed there. */
  output(): string;
  lines(): LogLine[];
  /** Calls that the planes have not seen the end of. */
  openCalls(): Promise<number>;
  stop(): Promise<void>;
}

/** Starts what an agent needs: for the native one, test planes. */
export async function surround(agent: AgentName, planes?: PlanesOptions): Promise<Surroundings> {
  const env = { SERVER_AGENT: agent };
  if (agent === 'native') {
    const { workdir, output, lines, stop, counters } = await startPlanes(planes);
    const openCalls = async (): Promise<number> => (await counters('dp-0')).streams;
    return { env: { ...env, NOSLATED_WORKDIR: workdir }, output, lines, openCalls, stop };
  }
  const rest = { output: () => '', lines: () => [], openCalls: async () => 0, stop: async () => {} };
  return { env: agent === 'sdk' ? { ...env, NOSLATE_PATH: SDK } : env, ...rest };
}

/** Makes an agent in this process. */
export function createAgent(agent: AgentName, { env }: Surroundings, log: Log): Agent {
  switch (agent) {
    case 'local':
      return createLocalAgent(SERVER_FILE, log);
    case 'native':
      return createNativeAgent(join(env['NOSLATED_WORKDIR'] ?? '', 'socks'), log);
    case 'sdk':
      return createSdkAgent(env['NOSLATE_PATH'] ?? '', log);
  }
}

/** Also what the planes are started with, if the agent has any. */
export interface Options extends ServerOptions {
  planes?: PlanesOptions;
}

/** Starts the built server with an agent, and what that needs. What functions print counts as the server's output. */
export async function startServerOn(agent: AgentName, options: Options = {}): Promise<Server> {
  const surroundings = await surround(agent, options.planes);
  const server = await startServer({ ...options, env: { ...surroundings.env, ...options.env } });
  // also when a test ends the server itself
  server.exit.then(surroundings.stop);
  const lines = (): LogLine[] => [...server.lines(), ...surroundings.lines()];
  const line: Server['line'] = async (what, test) => {
    let found: LogLine | undefined;
    await eventually(`log line: ${what}`, async () => {
      found = lines().find(test);
      return found !== undefined;
    });
    return found as LogLine;
  };
  return {
    ...server,
    output: () => server.output() + surroundings.output(),
    lines,
    line,
    async stop() {
      await server.stop();
      await surroundings.stop();
    },
  };
}

/** Runs a test's body with a server of its own. */
export async function withServerOn(
  agent: AgentName,
  options: Options,
  body: (server: Server) => Promise<void>,
): Promise<void> {
  const server = await startServerOn(agent, options);
  try {
    await body(server);
  } catch (error) {
    if (error instanceof Error) error.message += `\n--- output of the server\n${server.output().slice(-2000)}`;
    throw error;
  } finally {
    await server.stop();
  }
}
