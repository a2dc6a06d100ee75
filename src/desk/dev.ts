import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { now } from '../clock.ts';
import { ConfigError } from '../errors.ts';
import { stampOf, watch } from '../watch.ts';
import { aboutOf } from './about.ts';
import { remarkText } from './deployment/remarks.ts';
import { table, tableLines } from './deployment/table.ts';
import { configFile, type DeploymentFile, deployment, findDeployment, winners } from './deployment.ts';
import { FcError } from './fc/answers.ts';
import { type Endpoint, invokePath, openEndpoint } from './fc/endpoint.ts';
import { requestId } from './fc/headers.ts';
import { createLife } from './fc/life.ts';
import { createPlatform, type Platform } from './fc/platform.ts';
import { holders, signalAll, tree } from './fc/processes.ts';
import type { FunctionOptions } from './fc/settings.ts';
import { type Flags, helpText, readFlags } from './flags.ts';
import { type Inspector, openInspector } from './inspector.ts';
import { KEYS, listenForWords } from './keys.ts';
import { refuse } from './refuse.ts';
import { MOST_BODY } from './view/console/calls.ts';
import { type Console, openConsole } from './view/console/server.ts';
import { createTraces, readTarget, type Target } from './view/otlp.ts';
import { createScreen, createStatus } from './view/status.ts';
import { createReport, type Report } from './view/terminal.ts';
import { type Ways, waysIn } from './ways.ts';

/** The console's page, as built. */
declare const CONSOLE_PAGE: string;

/** What a shell says of a command that Ctrl-C has ended. */
const EXIT_INTERRUPTED = 130;
/** So often the last line is drawn anew at least. */
const STATUS_MS = 1000;

/**
 * The command `noslate-fc dev`: FC on this machine, with one function. Ends the process when it is told to.
 *
 * @param server - file of ours, for a folder that has a noslate.json.
 */
export async function dev(args: readonly string[], server: string): Promise<void> {
  const { flags, file: found, settings, target } = configure(args, server);
  const isTerminal = process.stdout.isTTY === true;
  const json = flags.json === true || !isTerminal;
  const started = now();
  const moment = (): number => now() - started;
  const status = createStatus();
  const print = (text: string): boolean => process.stdout.write(text);
  const screen = createScreen(
    print,
    () => process.stdout.columns,
    () => status.text(moment()),
  );
  const report = createReport(
    { json, colour: !process.env['NO_COLOR'], log: flags.log === 'on' },
    json ? print : screen.write,
  );
  const life = createLife(false);
  const inspector = await openDebugger();
  const played = { ...settings, isHeld: () => inspector?.isAttached() === true };
  const platform = createPlatform(played, life, flags.console === 'off' ? 0 : MOST_BODY);
  life.on(report.event);
  const traces = target && createTraces(target, platform.settings, moment, tellOfTraces);
  if (traces !== undefined) life.on(traces.event);
  if (!json) {
    life.on(event => {
      status.event(event);
      screen.changed();
    });
    // a minute goes by without events, too
    setInterval(screen.changed, STATUS_MS).unref();
    process.stdout.on('resize', screen.changed);
  }
  const counts = countCalls(platform);

  const endpoint = await openEndpoint(platform, flags.listen.host, flags.listen.port).catch(error =>
    refuse('dev', explain(error, flags), 1),
  );
  const file = configFile(flags);
  const ways = waysIn(file, endpoint.url, platform.settings);
  const page = await openPage();
  process.on('exit', () => killAll(platform));
  if (found !== undefined) announceDeployment(found, flags, platform, report);
  announce(platform, endpoint, page, flags.inspect, ways, report);
  if (target !== undefined) report.note('traces', { url: target.url.origin }, `traces go to ${target.url.origin}\n`);
  if (file !== undefined && flags.watch === 'on')
    watch(
      () => codeBelow(dirname(file)),
      () => replaceAll(platform, 'code changed'),
    );

  function tellOfTraces(problem: string): void {
    report.note('traces', { problem }, problem);
  }

  async function openDebugger(): Promise<Inspector | undefined> {
    const { inspect: port } = flags;
    if (port === undefined) return undefined;
    const wake = (): void => {
      for (const instance of platform.instances()) instance.thaw();
    };
    const rest = (): void => {
      for (const one of platform.instances()) if (one.inFlight === 0) one.rest(requestId(platform.settings));
    };
    const replace = (): void => replaceAll(platform, 'debugger gone');
    return openInspector(life, port, { wake, rest, replace }).catch(error =>
      refuse('dev', [`--inspect: ${portProblem(error, port)}: choose another, --inspect PORT`], 1),
    );
  }

  async function openPage(): Promise<Console | undefined> {
    const { console: port } = flags;
    if (port === 'off') return undefined;
    const about = aboutOf(platform.settings, endpoint, ways, found);
    const redeploy = (): void => replaceAll(platform, 'code changed');
    return openConsole({ platform, port, about, page: CONSOLE_PAGE, redeploy }).catch(error =>
      refuse(
        'dev',
        [`--console: ${portProblem(error, port)}: choose another, --console PORT, or leave it out, --console off`],
        1,
      ),
    );
  }

  let quitting = false;
  async function quit(): Promise<void> {
    if (quitting) process.exit(EXIT_INTERRUPTED);
    quitting = true;
    // from here on Ctrl-C is a signal again
    release();
    const waiting = platform.instances().reduce((sum, { inFlight }) => sum + inFlight, 0);
    report.note('quitting', { inFlight: waiting }, waiting > 0 ? `waits for ${waiting} in flight; Ctrl-C kills` : '');
    await platform.stop();
    await traces?.flush();
    endpoint.close();
    page?.close();
    inspector?.close();
    report.flush();
    screen.end();
    const { requests, failed, instances } = counts;
    report.note(
      'quit',
      counts,
      `${requests} requests, ${failed} failed, ${instances} instances; nothing is left running`,
    );
    process.exit(0);
  }
  // what is printed is nobody's business when the terminal is gone
  process.stdout.on('error', () => {});
  process.stderr.on('error', () => {});
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, quit);
  const release = listenForWords(process.stdin, (word, argument) => {
    if (word === 'quit') quit();
    else command(platform, report, word, argument);
  });
  scale(platform, report, 1);
}

/** What the command line and the file that it leads to ask for. */
interface Asked {
  readonly flags: Flags;
  readonly file: DeploymentFile | undefined;
  readonly settings: FunctionOptions;
  readonly target: Target | undefined;
}

/** Gives what is asked for, or ends the process: with what is wrong with that, or with the help. */
function configure(args: readonly string[], server: string): Asked {
  try {
    const flags = readFlags(args);
    if (flags.help) {
      process.stdout.write(helpText());
      process.exit(0);
    }
    const file = configFile(flags);
    if (file !== undefined && !existsSync(file)) throw new ConfigError([missing(flags, file)]);
    const found = findDeployment(flags);
    return { flags, file: found, settings: deployment(flags, server, found?.deployed), target: tracesTarget() };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return refuse('dev', error.problems);
  }
}

/** Where traces go. @throws {ConfigError} a variable is wrong. */
function tracesTarget(): Target | undefined {
  try {
    return readTarget(process.env);
  } catch (error) {
    throw new ConfigError([(error as Error).message]);
  }
}

/** What to do about a noslate.json that is not there. */
function missing({ config }: Flags, file: string): string {
  if (config !== undefined) return `--config: expected a file, got "${file}"`;
  return `expected noslate.json in ${dirname(file)}, found none. Name its folder: noslate-fc dev FOLDER; or run another server: --command 'node server.js'. See --help`;
}

function explain(error: NodeJS.ErrnoException, { listen: { host, port } }: Flags): string[] {
  switch (error.code) {
    case 'EADDRINUSE':
      return [`--listen: port ${port} is taken by another process`];
    case 'EACCES':
      return [`--listen: no permission to listen on port ${port}`];
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return [`--listen: expected an address of this machine, got "${host}"`];
    default:
      return [`--listen: cannot listen on ${host}:${port}: ${error.message}`];
  }
}

/** Says what was taken from the file that the function is deployed by, what was not, and what wins over it. */
function announceDeployment(
  { file, place, deployed, remarks }: DeploymentFile,
  flags: Flags,
  { settings: { port } }: Platform,
  report: Report,
): void {
  const name = basename(file);
  const taken = deployed === undefined ? [] : table(deployed, port);
  const won = deployed === undefined ? [] : winners(flags, deployed);
  const text = [
    ...remarks.map(item => remarkText(name, item)),
    ...(taken.length === 0 ? [] : [`from ${name}, ${place}:`, ...tableLines(taken).map(line => `  ${line}`)]),
    ...(won.length === 0 ? [] : [`flags win: ${won.join(', ')}`]),
    '',
  ];
  report.note('deployment', { file, place, taken: Object.fromEntries(taken), remarks, won }, text.join('\n'));
  // what an instance is made of is settled once
  const again = `${name} has changed: end and start again to play it`;
  watch(
    () => stampOf(file),
    () => report.note('deployment changed', { file }, again),
  );
}

/** Why a port cannot be had. */
const portProblem = (error: NodeJS.ErrnoException, port: number): string =>
  error.code === 'EADDRINUSE' ? `port ${port} is taken by another process` : error.message;

/** Says where FC can be reached, with lines that can be pasted as they are. */
function announce(
  { settings }: Platform,
  { url }: Endpoint,
  page: Console | undefined,
  inspect: number | undefined,
  { curls }: Ways,
  report: Report,
): void {
  const { flavour, name, memory, timeout, instanceConcurrency, maxInstances } = settings;
  const text = [
    `FC ${flavour} with the function ${name}: ${memory} MB, timeout ${timeout} s, ${instanceConcurrency} request${instanceConcurrency === 1 ? '' : 's'} per instance, at most ${maxInstances} instance${maxInstances === 1 ? '' : 's'}`,
    ...(page === undefined ? [] : [`console: ${page.url}`]),
    ...(inspect === undefined ? [] : [`debugger: 127.0.0.1:${inspect}, for chrome://inspect or an editor's "attach"`]),
    '',
    ...curls.map(line => `  ${line}`),
    '',
    `${KEYS.map(({ key, word }) => `${key} ${word}`).join(', ')}`,
    '',
  ];
  const invoke = `${url}${invokePath(settings)}`;
  report.note('listening', { url, invoke, console: page?.url, flavour, function: name }, text.join('\n'));
}

/** Does what a key or a line asks for. */
function command(platform: Platform, report: Report, word: string, argument: string | undefined): void {
  const instances = platform.instances();
  const running = instances.length;
  switch (word) {
    case 'freeze':
      for (const instance of instances) instance.freeze();
      return;
    case 'thaw':
      for (const instance of instances) instance.thaw();
      return;
    case 'crash':
      // the one that it hurts most
      [...instances].sort((a, b) => b.inFlight - a.inFlight)[0]?.crash();
      return;
    case 'more':
      scale(platform, report, running + 1);
      return;
    case 'less':
      scale(platform, report, Math.max(0, running - 1));
      return;
    case 'scale':
      scale(platform, report, Number(argument));
      return;
    case 'stop':
      scale(platform, report, 0);
      return;
    case 'start':
      scale(platform, report, Math.max(1, running));
      return;
    case 'help':
      report.note(
        'help',
        { words: KEYS },
        KEYS.map(({ key, word: name, meaning }) => `  ${key}  ${name.padEnd(8)}${meaning}`).join('\n'),
      );
      return;
    default:
      report.note('unknown', { word }, `unknown: ${word}`);
  }
}

function scale(platform: Platform, report: Report, count: number): void {
  const { maxInstances } = platform.settings;
  if (!Number.isInteger(count) || count < 0 || count > maxInstances) {
    report.note('refused', { count }, `scale: expected a whole number from 0 to ${maxInstances}`);
    return;
  }
  platform.scale(count).catch(error => {
    if (!(error instanceof FcError)) throw error;
    const { code, message } = error;
    report.note(
      'start failed',
      { code, message },
      `${code}: ${message}\nMend it and ask again: the next request starts a new instance.`,
    );
  });
}

/** Stamps of the files of code in a folder and below it. Which of them a server loads is not known here. */
function codeBelow(folder: string, seen: Set<string> = new Set()): string {
  const identity = stampOf(folder);
  if (seen.has(identity)) return '';
  seen.add(identity);
  let stamps = '';
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (/^(node_modules|\..*)$/.test(entry.name)) continue;
      if (/\.(js|cjs|mjs|json|node)$/.test(entry.name)) stamps += `${path} ${stampOf(path)}\n`;
      else if (!entry.isFile()) stamps += codeBelow(path, seen);
    }
  } catch {
    // no folder, or not for us
  }
  return stamps;
}

/**
 * New code is a new deployment: what is in flight ends on the old instances, and no other call gets there. Frozen,
 * they would see the change only after they have answered the next one.
 *
 * @param reason - as the life has it.
 */
function replaceAll(platform: Platform, reason: string): void {
  for (const instance of platform.instances()) if (instance.state === 'ready') instance.stop(reason);
}

/** Counts for the last line. */
function countCalls({ life }: Platform): { requests: number; failed: number; instances: number } {
  const counts = { requests: 0, failed: 0, instances: 0 };
  life.on(({ event, status, errorType }) => {
    if (event === 'starting') counts.instances += 1;
    if (event !== 'answer') return;
    counts.requests += 1;
    if (Number(status) >= 500 || errorType !== undefined) counts.failed += 1;
  });
  return counts;
}

/** Leaves no process behind, however this one ends. */
function killAll(platform: Platform): void {
  for (const { id, pid } of platform.instances()) {
    signalAll([...tree(pid), ...holders('FC_INSTANCE_ID', id)], 'SIGKILL');
  }
}
