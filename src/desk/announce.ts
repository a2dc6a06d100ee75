import { basename } from 'node:path';
import { stampOf, watch } from '../watch.ts';
import { remarkText } from './deployment/remarks.ts';
import { table, tableLines } from './deployment/table.ts';
import { type DeploymentFile, winners } from './deployment.ts';
import { type Endpoint, invokePath } from './fc/endpoint.ts';
import type { Platform } from './fc/platform.ts';
import { unplayed } from './fc/processes.ts';
import type { Flags } from './flags.ts';
import { KEYS } from './keys.ts';
import type { Console } from './view/console/server.ts';
import type { Report } from './view/terminal.ts';
import type { Ways } from './ways.ts';

/** Why FC cannot be had where it is to listen. */
export function listenProblem(error: NodeJS.ErrnoException, { listen: { host, port } }: Flags): string[] {
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
export function announceDeployment(
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
export const portProblem = (error: NodeJS.ErrnoException, port: number): string =>
  error.code === 'EADDRINUSE' ? `port ${port} is taken by another process` : error.message;

/** Says where FC can be reached, with lines that can be pasted as they are. */
export function announce(
  { settings }: Platform,
  { url }: Endpoint,
  page: Console | undefined,
  inspect: number | undefined,
  { curls }: Ways,
  report: Report,
): void {
  const { flavour, name, memory, timeout, instanceConcurrency, maxInstances } = settings;
  const limits = unplayed(process.platform);
  const text = [
    `FC ${flavour} with the function ${name}: ${memory} MB, timeout ${timeout} s, ${instanceConcurrency} request${instanceConcurrency === 1 ? '' : 's'} per instance, at most ${maxInstances} instance${maxInstances === 1 ? '' : 's'}`,
    ...(page === undefined ? [] : [`console: ${page.url}`]),
    ...(limits === undefined ? [] : [limits]),
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
