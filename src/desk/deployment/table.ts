import { SESSION_AFFINITY } from '../fc/settings.ts';
import type { Deployed, Trigger } from './deployed.ts';

/**
 * What was taken, each as a name and a value in words. No value of a variable is among them.
 *
 * @param port - where the container is to listen here; 0 is a free one.
 */
export function table(deployed: Deployed, port: number = 0): readonly (readonly [string, string])[] {
  const { memory, cpu, timeout, instanceConcurrency, environment, healthCheck, asyncRetries, asyncMaxAge } = deployed;
  const rows: (readonly [string, string | undefined])[] = [
    ['function', deployed.name],
    ['service', deployed.service],
    ['region', deployed.region],
    ['memory', memory === undefined ? undefined : `${memory} MB`],
    ['cpu', cpu === undefined ? undefined : String(cpu)],
    ['timeout', `${timeout} s`],
    ['concurrency', instanceConcurrency === undefined ? undefined : String(instanceConcurrency)],
    ['sessions', deployed.sessionAffinity && sessionWords(deployed.sessionAffinity)],
    ['initializer', hook(deployed.initializer) ?? 'none'],
    ['pre-freeze', hook(deployed.preFreeze)],
    ['pre-stop', hook(deployed.preStop)],
    ['health check', healthCheck?.httpGetUrl],
    ['port', portWords(deployed.port, port)],
    ['async', asyncRetries === undefined && asyncMaxAge === undefined ? undefined : again(deployed)],
    ['role', deployed.role ? 'yes' : 'none'],
    ['variables', Object.keys(environment).join(' ') || undefined],
    ['triggers', deployed.triggers.map(trigger).join(' ') || 'none'],
  ];
  return rows.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
}

/** As many characters as a terminal shows in a line, as a rule. */
const LINE = 100;

/** The table as lines of text: `memory 1024 MB, timeout 60 s, …`. */
export function tableLines(rows: readonly (readonly [string, string])[]): string[] {
  const lines: string[] = [];
  for (const row of rows) {
    const [last, words] = [lines[lines.length - 1], row.join(' ')];
    if (last !== undefined && last.length + words.length < LINE) lines[lines.length - 1] = `${last}, ${words}`;
    else lines.push(words);
  }
  return lines;
}

/** On FC each instance has a network of its own, and all of them the same port. */
function portWords(said: number | undefined, port: number): string | undefined {
  if (said === undefined || said === port) return said?.toString();
  return `${said} (here ${port === 0 ? 'a free one' : port})`;
}

const hook = (of: Deployed['preStop']): string | undefined => (of === undefined ? undefined : `${of.timeout} s`);

/** How sessions are known, and how long they last, in words. */
export function sessionWords(affinity: NonNullable<Deployed['sessionAffinity']>): string {
  const { by, header, perInstance, ttl, idle } = { ...SESSION_AFFINITY, ...affinity };
  return `by ${by === 'header' ? header : by}, ${perInstance} per instance, ${ttl} s, idle ${idle} s`;
}

const again = ({ asyncRetries = 3, asyncMaxAge }: Deployed): string =>
  `${asyncRetries} retries${asyncMaxAge === undefined ? '' : ` in ${asyncMaxAge} s`}`;

function trigger({ name, type, methods, authType, schedule }: Trigger): string {
  const details = [type, authType, methods?.join(' '), schedule].filter(Boolean).join(', ');
  return `${name} (${details})`;
}
