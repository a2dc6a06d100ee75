import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Flavour } from '../fc/settings.ts';
import { type FlagTable, on, oneOf, readTable, tableText, text, type Values } from '../options.ts';
import { refuse } from '../refuse.ts';
import { FUNCTION } from './check.ts';
import { CHECKS, type Result, runChecks, type Subject } from './run.ts';

const FLAGS = {
  command: {
    value: "'COMMAND'",
    ...text,
    default: undefined,
    otherwise: 'noslate-fc, with its local agent',
    meaning:
      'the server, run by a shell where you are; it listens on $FC_CUSTOM_LISTEN_PORT, as does the word PORT in the command',
  },
  express: { ...on, meaning: "the samples' Express server, as an example of what fails" },
  fc: {
    value: 'VERSION',
    ...oneOf('3.0', '2.0', 'both'),
    default: 'both',
    meaning: 'generation of FC: 3.0, 2.0 or both',
  },
  only: { value: 'TEXT', ...text, default: '', otherwise: 'all', meaning: 'checks whose id has this in it' },
  list: { ...on, meaning: 'list the checks, and run none' },
  json: { ...on, meaning: 'results as JSON, for machines' },
  help: { ...on, meaning: 'print this' },
} as const satisfies FlagTable;

type Flags = Values<typeof FLAGS>;

const HELP = `Checks whether a server keeps to Function Compute's contract with custom containers.

  noslate-fc conformance [options]

${tableText(FLAGS)}

${FUNCTION}
`;

/** What there is to check besides what the user names. */
export interface Kit {
  /** Ours, by what each is called. */
  readonly servers: readonly (readonly [string, Subject])[];
  /** The file of the samples' server. */
  readonly express: string;
}

function subjects(flags: Flags, kit: Kit): Kit['servers'] {
  if (flags.command !== undefined) return [['', { command: ['/bin/sh', '-c', `exec ${flags.command}`] }]];
  if (flags.express) return [['express', { command: [process.execPath, kit.express] }]];
  return kit.servers;
}

/**
 * The command `noslate-fc conformance`: the FC contract as checks, against any server. Sets the exit code: 1 when a check
 * has failed.
 */
export async function conformance(args: readonly string[], kit: Kit): Promise<void> {
  endAtSignals();
  const problems: string[] = [];
  const flags = readTable(FLAGS, args, problems);
  const checks = CHECKS.filter(({ id }) => id.includes(flags.only));
  if (checks.length === 0) problems.push(`--only: expected part of a check's id, got "${flags.only}"`);
  if (flags.express && !isInstalled('express')) {
    problems.push('--express: expected express to be installed, got none; npm install --no-save express');
  }
  if (problems.length > 0) refuse('conformance', problems);
  if (flags.help) return void process.stdout.write(HELP);
  const say = (text: string): void => void process.stdout.write(`${text}\n`);
  if (flags.list) {
    for (const { id, level, title, source } of checks)
      say(`${id.padEnd(26)} ${level.padEnd(6)}  ${title}  (${source})`);
    return;
  }
  const flavours: Flavour[] = flags.fc === '2.0' ? ['2.0'] : flags.fc === '3.0' ? ['3.0'] : ['3.0', '2.0'];
  const all: { subject: string; flavour: Flavour; result: Result }[] = [];
  for (const [subject, server] of subjects(flags, kit)) {
    for (const flavour of flavours) {
      if (!flags.json) say(`\nFC ${flavour}${subject && `, ${subject}`}`);
      const results = await runChecks(server, flavour, checks, result => {
        if (!flags.json) say(line(result));
      });
      all.push(...results.map(result => ({ subject, flavour, result })));
    }
  }
  const failed = all.filter(({ result }) => result.failure !== undefined).length;
  if (flags.json) say(JSON.stringify(all.map(record), null, 2));
  else say(`\n${all.length - failed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

/** Whether there is such a package where the user is. */
function isInstalled(name: string): boolean {
  try {
    createRequire(join(process.cwd(), 'here')).resolve(name);
    return true;
  } catch {
    return false;
  }
}

function line({ check, failure }: Result): string {
  if (failure === undefined) return `  ok    ${check.id.padEnd(26)} ${check.title}`;
  const { id, title, contract, source, level } = check;
  return `  FAIL  ${id.padEnd(26)} ${title} (${level})\n          ${failure}\n          ${contract} ${source}`;
}

function record({ subject, flavour, result }: { subject: string; flavour: Flavour; result: Result }): object {
  const { check, failure, ms } = result;
  const { id, title, contract, source, level } = check;
  const outcome = failure === undefined ? 'passed' : 'failed';
  return { subject, flavour, id, level, title, contract, source, outcome, ...(failure && { failure }), ms };
}

function endAtSignals(): void {
  // containers are sessions of their own, which Ctrl-C does not reach: they end with this process's own exit
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(128 + constants.signals[signal]));
  }
  // who reads no further, as `head`, has seen enough
  process.stdout.on('error', () => process.exit(0));
}
