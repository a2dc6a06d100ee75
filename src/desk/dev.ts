import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { now } from '../clock.ts';
import { stampOf, watch } from '../watch.ts';
import { aboutOf } from './about.ts';
import { announce, announceDeployment, listenProblem, portProblem } from './announce.ts';
import { configure } from './asked.ts';
import { configFile, overruled } from './deployment.ts';
import { openEndpoint } from './fc/endpoint.ts';
import { requestId } from './fc/headers.ts';
import { createLife } from './fc/life.ts';
import { createPlatform, type Platform } from './fc/platform.ts';
import { type Inspector, openInspector } from './inspector.ts';
import { listenForWords } from './keys.ts';
import { command, killAll, replaceAll, scale } from './orders.ts';
import { refuse } from './refuse.ts';
import { MOST_BODY } from './view/console/calls.ts';
import { type Console, openConsole } from './view/console/server.ts';
import { createTraces } from './view/otlp.ts';
import { createScreen, createStatus } from './view/status.ts';
import { createReport } from './view/terminal.ts';
import { painter } from './view/words.ts';
import { waysIn } from './ways.ts';

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
  const colour = !process.env['NO_COLOR'];
  const started = now();
  const moment = (): number => now() - started;
  const status = createStatus();
  const print = (text: string): boolean => process.stdout.write(text);
  const screen = createScreen(
    print,
    () => process.stdout.columns,
    () => status.text(moment()),
    painter(colour),
  );
  const report = createReport({ json, colour, log: flags.log === 'on' }, json ? print : screen.write);
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
    refuse('dev', listenProblem(error, flags), 1),
  );
  const file = configFile(flags);
  const ways = waysIn(file, endpoint.url, platform.settings);
  const page = await openPage();
  process.on('exit', () => {
    killAll(platform);
    report.flush();
  });
  if (found !== undefined) announceDeployment(found, flags, platform, report);
  const remark = overruled(flags, found?.deployed, settings);
  if (remark !== undefined) report.note('remark', { text: remark }, `${remark}\n`);
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
