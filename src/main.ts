import { existsSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { isatty } from 'node:tty';
import type { Agent } from './agent.ts';
import { banner } from './banner.ts';
import { type Config, help, readConfig } from './config.ts';
import { ConfigError } from './errors.ts';
import type { Gateway } from './gateway.ts';
import { WORKER_THREAD } from './local/messages.ts';
import { createLog, type Log } from './log.ts';
import { describeNode } from './node-release.ts';
import { PROBE, probe } from './probe.ts';
import { EMPTY_PROFILE, type Profile } from './profile.ts';
import { loadProfile, readProfile } from './profile-load.ts';
import { cutOff } from './respond.ts';
import { createRouter } from './router.ts';
import { createGateway } from './server.ts';
import { stampOf, watch } from './watch.ts';

/** Set by the build, from package.json. */
declare const VERSION: string;

/** `EX_CONFIG` of sysexits.h: the same start would fail again. */
const EXIT_CONFIG = 78;

/** `EX_SOFTWARE`: a fault of our own. */
const EXIT_FAULT = 70;

/** What is logged last waits so long for its reader. */
const UNREAD_MS = 1000;

/** A function's thread that has not ended by then never will. */
const STUCK_MS = 3000;

/** Ends the process for a configuration that cannot be used, and says why. */
function exitConfig(error: unknown): never {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(error.problems.map(problem => `noslate-fc: ${problem}\n`).join(''));
  process.exit(EXIT_CONFIG);
}

/** Ends the process at once, with one line: after a fault nothing in it can be trusted. */
function exitFault(error: Error, { log: mode }: Config, log: Log): never {
  log.error('fault of the gateway, which ends', { error });
  log.flush();
  if (mode === 'off') process.stderr.write(`noslate-fc: fault of the gateway, which ends: ${error?.message}\n`);
  process.exit(EXIT_FAULT);
}

/** Configuration, port, agent, signals: in this order, for FC's probe waits for the port alone. */
async function main(): Promise<void> {
  const { action, config, problems: faults } = readConfig(process.env, process.argv.slice(2), () => isatty(1));
  if (action === 'help' || action === 'version') {
    process.stdout.write(action === 'help' ? help(VERSION) : `${VERSION}\n`);
    process.exit(0);
  }
  const reading = config.config === undefined ? undefined : readProfile(config.config);
  if (action === 'check') {
    const { text, problems } = await (await import('./check.ts')).examine(__filename, config, faults, reading);
    process.stdout.write(text);
    if (problems.length === 0) process.exit(0);
    exitConfig(new ConfigError(problems));
  }
  const problems = [...faults, ...(reading?.problems ?? [])];
  if (problems.length > 0) exitConfig(new ConfigError(problems));
  const profile = reading?.profile ?? EMPTY_PROFILE;
  if (action === 'doctor') {
    const [text, toMend] = await (await import('./doctor.ts')).examine(config, profile);
    process.stdout.write(text, () => process.exit(toMend > 0 ? 1 : 0));
    return;
  }
  const log = createLog(config.log);
  process.on('uncaughtException', error => exitFault(error, config, log));
  const { server, gateway, setAgent, closeIdle } = createGateway(config, log, profile, stop);

  if (config.adminPort !== undefined) {
    const [{ openAdmin }, { createMetrics }] = [await import('./admin.ts'), await import('./metrics.ts')];
    gateway.metrics = createMetrics(VERSION, gateway, server);
    // FC's probe waits for the first connection
    server.once('connection', () => setImmediate(openAdmin, gateway));
  }

  if (config.otlpEndpoint !== undefined) {
    const { createTraces } = await import('./otlp.ts');
    gateway.traces = createTraces(VERSION, config.otlpEndpoint, config, process.env, log);
  }

  server.on('error', (error: NodeJS.ErrnoException) => {
    process.stderr.write(`noslate-fc: ${explain(error, config)}\n`);
    process.exit(1);
  });
  let agent: Agent | undefined;
  server.listen(config.port, config.host, async () => {
    // the rest goes on beside the open port, which is all that FC's probe waits for
    process.stdout.on('error', onStdoutError);
    announce(originOf(server.address() as AddressInfo, config), config, profile, log);
    const made = await createAgent(config, log).catch(exitConfig);
    agent = made;
    // with planes that refuse it, calls are better answered than left waiting
    const set = made.setProfile(profile).catch(error => log.error('profile not set', { error }));
    // the others have each call wait for what it needs
    if (config.agent === 'sdk') await set;
    setAgent(made);
  });

  if (config.config !== undefined) followProfile(config.config, gateway);

  let isStopping = false;
  function stop(): void {
    if (isStopping) return;
    isStopping = true;
    log.info('draining', { invocations: gateway.invocations.size });
    gateway.drain().then(exit);
  }
  let isEnding = false;
  function exit(): void {
    if (isEnding) return;
    isEnding = true;
    log.flush();
    // a client that would send its next request here must see the end before it does
    server.close();
    closeIdle();
    for (const exchange of gateway.invocations.values()) cutOff(exchange);
    // from Node 24 on V8 has loops that no thread can be got out of, and process.exit waits for all threads
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), STUCK_MS);
    Promise.resolve(agent?.close())
      .then(() => gateway.traces?.flush(true))
      .then(() => {
        const end = (): void => process.exit(0);
        // with the calls that were cut off
        gateway.summary.write('stop');
        log.flush();
        // what a reader has not taken yet would be lost; one that takes nothing is not waited for
        process.stdout.write('', end);
        setTimeout(end, UNREAD_MS);
      });
  }
  process.on('SIGTERM', () => (isStopping ? exit() : stop()));
  // a person at a terminal: at once
  process.on('SIGINT', exit);
}

/** Loads the code of the chosen agent, and no other's. */
async function createAgent({ agent, noslatePath = '', noslatedWorkdir }: Config, log: Log): Promise<Agent> {
  switch (agent) {
    case 'local': {
      const { createLocalAgent } = await import('./local/agent.ts');
      return createLocalAgent(__filename, log);
    }
    case 'native': {
      const { createNativeAgent } = await import('./noslate/agent.ts');
      return createNativeAgent(join(noslatedWorkdir ?? join(noslatePath, '.code'), 'socks'), log);
    }
    case 'sdk': {
      const { createSdkAgent } = await import('./sdk/agent.ts');
      return createSdkAgent(noslatePath, log);
    }
  }
}

function announce(origin: string, { log: mode, agent, warnings }: Config, profile: Profile, log: Log): void {
  const functions = profile.functions.map(({ name }) => name);
  if (mode === 'pretty') log.line(banner(VERSION, origin, profile));
  else log.info('listening', { version: VERSION, url: origin, agent, functions, node: describeNode() });
  for (const warning of warnings) log.warn(warning);
}

/** Reads the profile again on SIGHUP and, to develop by, when its file changes. A bad one is reported, and the old stays. */
function followProfile(file: string, gateway: Gateway): void {
  const { log, config } = gateway;
  const isLocal = config.agent === 'local';
  async function reload(): Promise<void> {
    const agent = await gateway.ready;
    gateway.reloads.total++;
    try {
      const profile = loadProfile(file);
      await agent.setProfile(profile);
      gateway.router = createRouter(profile, isLocal);
      gateway.profile = profile;
      gateway.reloads.succeeded = true;
      log.info('configuration reloaded', { functions: profile.functions.map(item => item.name) });
    } catch (error) {
      gateway.reloads.succeeded = false;
      if (!(error instanceof ConfigError)) log.error('configuration not reloaded', { error });
      else for (const problem of error.problems) log.error(`configuration not reloaded: ${problem}`);
    }
  }
  process.on('SIGHUP', reload);
  if (isLocal) watch(() => stampOf(file), reload);
}

/** A closed pipe is no reason to stop serving; a terminal that is gone is, for nobody could end us then. */
function onStdoutError(error: NodeJS.ErrnoException): void {
  if (error.code === 'EIO') process.exit(0);
}

function originOf({ address, port, family }: AddressInfo, config: Config): string {
  const isAny = config.host === '0.0.0.0' || config.host === '::';
  return `http://${isAny ? 'localhost' : String(family).endsWith('6') ? `[${address}]` : address}:${port}`;
}

function explain(error: NodeJS.ErrnoException, { port, host }: Config): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `SERVER_PORT: port ${port} is taken by another process`;
    case 'EACCES':
      return `SERVER_PORT: no permission to listen on port ${port}`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `SERVER_HOST: expected an address of this machine, got "${host}"`;
    default:
      return `cannot listen on ${host}:${port}: ${error.message}`;
  }
}

/** What is no flag is the word of a command, whose code is in a file of its own. */
function runCommand(word: string): void {
  const file = join(dirname(__filename), 'desk.js');
  if (!existsSync(file)) exitConfig(new ConfigError([`${word}: expected ${file}, which has the commands, found none`]));
  require(file);
}

/** The server, which has no word in its way; what it starts with this file: a worker thread, a probe; or a command. */
async function start(): Promise<void> {
  const word = process.argv[2];
  if (word === undefined || word[0] === '-') {
    main();
    return;
  }
  if (word === PROBE && process.send !== undefined) {
    probe();
    return;
  }
  if (word === WORKER_THREAD) {
    // only then is it worth asking where we are
    const { isMainThread, runWorker } = await import('./local/worker.ts');
    if (!isMainThread) {
      runWorker();
      return;
    }
  }
  runCommand(word);
}

start();
