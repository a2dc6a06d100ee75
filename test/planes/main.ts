// The process that hosts test planes. Takes its options as JSON in argv, commands over IPC.
import { createLog } from '../../src/log.ts';
import { startControlPlane } from './control-plane.ts';
import { type Plane, startDataPlane } from './data-plane.ts';
import type { Knobs } from './knobs.ts';
import type { Counters } from './server.ts';

/** What the process is started with. */
export interface MainOptions {
  workdir: string;
  /** For example `dp-0` and `cp-0`. */
  planes: readonly string[];
  knobs: Knobs;
}

/** Parent to process. */
export type Command = { id: number; command: 'knobs'; knobs: Partial<Knobs> } | { id: number; command: 'counters' };

/** Process to parent: all sockets accept, or a command is done. */
export type Report = { event: 'listening' } | { event: 'done'; id: number; counters: Record<string, Counters> };

const { workdir, planes: names, knobs } = JSON.parse(process.argv[2] ?? '{}') as MainOptions;
const log = createLog('json');
const planes = new Map<string, Plane>();

function report(message: Report): void {
  process.send?.(message);
}

process.on('message', (message: Command) => {
  if (message.command === 'knobs') Object.assign(knobs, message.knobs);
  const counters = Object.fromEntries([...planes].map(([name, plane]) => [name, plane.counters]));
  report({ event: 'done', id: message.id, counters });
});
// who started us is gone
process.on('disconnect', () => process.exit());

process.on('SIGTERM', async () => {
  await Promise.all([...planes.values()].map(plane => plane.close()));
  process.exit();
});

async function main(): Promise<void> {
  await Promise.all(names.map(start));
  report({ event: 'listening' });
}

async function start(name: string): Promise<void> {
  const id = Number(name.slice(name.indexOf('-') + 1));
  const plane = name.startsWith('dp')
    ? await startDataPlane({ workdir, id, log, knobs })
    : await startControlPlane({ workdir, id, log, knobs });
  planes.set(name, plane);
}

main();
