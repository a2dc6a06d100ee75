// Starts both of Noslate's planes in one process: `node warm/planes.js`, with `NOSLATE_BIN`, and with
// `NOSLATE_FC_WARM=use:FILE` or `make:FILE` for the pack of their modules. The two share nearly all of their modules, and in
// a container neither is of use without the other.
//
// It does what `bin/data_plane` and `bin/control_plane` do, within Noslate's own package and with no line of that changed.
import { realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { makePack, usePack } from './loader.ts';

/** What a plane is to the program that runs it. */
interface Plane {
  /** Rejects if it cannot start. */
  ready(): Promise<void>;
  close(): Promise<void>;
}

const LEVELS = ['debug', 'info', 'warn', 'error', 'write'] as const;

/** Where lines go: a file. */
type Sink = Record<(typeof LEVELS)[number], (message: unknown, ...rest: unknown[]) => void>;

/** Noslate's modules, as far as its own programs use them. @see noslated, bin/data_plane, bin/control_plane */
interface Loggers {
  readonly Loggers: { getPrettySink(file: string): Sink };
  readonly loggers: { setSink(sink: Sink): void; close(): void };
}

/**
 * The data plane's own loggers, by the category that each line begins with. What both planes have (gRPC, profiles) goes to
 * the control plane's file. A worker is told of by both: by the data plane with the worker's name in brackets.
 */
const DATA_PLANE =
  /^\[(?:DATA PLANE(?: HOST| IMPL)?|DATA FLOW CONTROLLER|PUSH SERVER|WORKER TELEMETRY|SYSTEM CIRCUIT BREAKER|INSPECTOR.*|DELEGATE.*|KV-STORAGES|NOSLATED SERVER|EXTENSION|INVOKE-CONTROLLER|DAPR|WORKER\] \[.*)\]/;

/** One sink for the loggers of both, which are the same to them. */
function route(data: Sink, control: Sink): Sink {
  const of = (message: unknown): Sink => (typeof message === 'string' && DATA_PLANE.test(message) ? data : control);
  const entries = LEVELS.map(level => [
    level,
    (message: unknown, ...rest: unknown[]) => of(message)[level](message, ...rest),
  ]);
  return Object.fromEntries(entries) as Sink;
}

async function main(): Promise<void> {
  const entry = realpathSync(join(process.env['NOSLATE_BIN'] ?? '', 'data_plane'));
  const wish = process.env['NOSLATE_FC_WARM'] ?? '';
  // it is meant for this process, not for those that it starts
  delete process.env['NOSLATE_FC_WARM'];
  process.argv[1] = entry;
  if (wish.startsWith('use:')) usePack(wish.slice(4));
  else if (wish.startsWith('make:')) makePack(wish.slice(5));

  const load = createRequire(entry);
  const { Loggers, loggers } = load('#self/lib/loggers') as Loggers;
  loggers.setSink(route(Loggers.getPrettySink('data_plane.log'), Loggers.getPrettySink('control_plane.log')));
  const { DataPlane } = load('#self/data_plane/index') as { DataPlane: new () => Plane };
  const { ControlPlane } = load('#self/control_plane/index') as { ControlPlane: new () => Plane };
  const data = new DataPlane();
  // a control plane that finds no data plane tries again only 100 ms later
  await data.ready();
  const control = new ControlPlane();
  await control.ready();

  const end = async (): Promise<void> => {
    // either closes the logs of both, while the other may still have something to say
    const close = loggers.close.bind(loggers);
    loggers.close = () => {};
    await Promise.all([data.close(), control.close()]);
    close();
    process.exit(0);
  };
  process.on('SIGINT', end);
  process.on('SIGTERM', end);
}

main().catch(error => {
  process.stderr.write(`${inspect(error)}\n`);
  process.exit(1);
});
