// What is counted while the admin port is open, and how it is told. Loaded with that port alone.
import { readdirSync } from 'node:fs';
import type { Server } from 'node:http';
import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import type { AgentStats, PlaneStats } from './agent.ts';
import { now } from './clock.ts';
import type { Code } from './errors.ts';
import type { Exchange, Gateway, Metrics, Outcome } from './gateway.ts';
import { knownMethod, OTHER } from './method.ts';

/** Seconds, as OpenTelemetry's conventions have them for HTTP servers. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const BYTES = [1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];

const TIMEOUTS: ReadonlySet<Code> = new Set<Code>(['TIMEOUT', 'QUEUE_TIMEOUT', 'INITIALIZER_TIMEOUT']);

/** Labels as they are written: `name="value"`, joined by commas. */
type Labels = string;
type Value = string | number;

interface Counter {
  value: number;
}

interface Histogram {
  readonly bounds: readonly number[];
  /** For each bound what was at most that and above the one before; the last is what was above all. */
  readonly counts: number[];
  sum: number;
}

/** A name, and all that is told under it. */
interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  lines(): string[];
}

/** A family with up to three labels. It finds by one look for each: to join them first would cost ten times as much. */
interface Labelled<T> extends Family {
  at(first?: Value, second?: Value, third?: Value): T;
}

const escaped = (value: string): string => value.replace(/[\\\n"]/g, char => (char === '\n' ? '\\n' : `\\${char}`));

const label = (name: string, value: Value): Labels => `${name}="${escaped(String(value))}"`;

const line = (name: string, labels: Labels, value: number): string =>
  `${name}${labels === '' ? '' : `{${labels}}`} ${value}`;

/** Finds values by their labels, and makes those that are not there. */
function createTree<T>(names: readonly string[], make: () => T): Pick<Labelled<T>, 'at'> & { all: [Labels, T][] } {
  const all: [Labels, T][] = [];
  const tree = new Map<Value, Map<Value, Map<Value, T>>>();
  return {
    all,
    at(first = '', second = '', third = '') {
      const seconds = tree.get(first) ?? new Map<Value, Map<Value, T>>();
      const thirds = seconds.get(second) ?? new Map<Value, T>();
      const found = thirds.get(third);
      if (found !== undefined) return found;
      const made = make();
      tree.set(first, seconds.set(second, thirds.set(third, made)));
      const values = [first, second, third];
      all.push([names.map((name, i) => label(name, values[i] as Value)).join(','), made]);
      return made;
    },
  };
}

function counter(name: string, help: string, ...names: string[]): Labelled<Counter> {
  const { at, all } = createTree(names, (): Counter => ({ value: 0 }));
  return { name, help, type: 'counter', at, lines: () => all.map(([labels, { value }]) => line(name, labels, value)) };
}

function histogram(name: string, bounds: readonly number[], help: string, ...names: string[]): Labelled<Histogram> {
  const { at, all } = createTree(names, (): Histogram => ({ bounds, counts: [...bounds, 0].fill(0), sum: 0 }));
  function lines(): string[] {
    return all.flatMap(([labels, { counts, sum }]) => {
      const before = labels === '' ? '' : `${labels},`;
      let count = 0;
      const buckets = counts.map((each, i) => {
        count += each;
        return line(`${name}_bucket`, `${before}le="${bounds[i] ?? '+Inf'}"`, count);
      });
      return [...buckets, line(`${name}_sum`, labels, sum), line(`${name}_count`, labels, count)];
    });
  }
  return { name, help, type: 'histogram', at, lines };
}

function observe(one: Histogram, value: number): void {
  const { bounds, counts } = one;
  let i = 0;
  while (i < bounds.length && value > (bounds[i] as number)) i++;
  counts[i] = (counts[i] as number) + 1;
  one.sum += value;
}

/** A value that is asked for when it is told. */
const told = (type: 'counter' | 'gauge', name: string, help: string, value: number, labels: Labels = ''): Family => ({
  name,
  help,
  type,
  lines: () => [line(name, labels, value)],
});

/** What an agent says of itself: a family of one line a plane each, and what it did again. */
function agentFamilies({ retries, planes }: AgentStats): Family[] {
  const each = (
    type: 'counter' | 'gauge',
    name: string,
    help: string,
    value: (plane: PlaneStats) => number,
  ): Family => ({
    name,
    help,
    type,
    lines: () => planes.map(plane => line(name, label('plane', plane.name), value(plane))),
  });
  return [
    told('counter', 'noslate_fc_retries_total', 'Calls that were made again.', retries),
    each('gauge', 'noslate_fc_plane_up', '1 while it can be called.', ({ isUp }) => Number(isUp)),
    each('counter', 'noslate_fc_plane_ups_total', 'How often it has come up.', ({ ups }) => ups),
    each('gauge', 'noslate_fc_plane_connections', 'Connections to it.', ({ connections }) => connections),
    each('gauge', 'noslate_fc_plane_streams', 'Calls and questions that are not over.', ({ streams }) => streams),
    each(
      'gauge',
      'noslate_fc_plane_held_bytes',
      'What readers that stand still leave here.',
      ({ heldBytes }) => heldBytes,
    ),
  ];
}

const NO_AGENT: AgentStats = { retries: 0, planes: [] };

/**
 * Counts what a gateway does, by the names of OpenTelemetry's conventions for HTTP servers and FaaS. Labels are of fixed
 * sets and of the profile, never of what a client sends.
 *
 * @param version - of this product.
 */
export function createMetrics(version: string, gateway: Gateway, server: Server): Metrics {
  const about = ['http_request_method', 'http_response_status_code', 'http_route'];
  const duration = histogram(
    'http_server_request_duration_seconds',
    SECONDS,
    'From a request to its last byte.',
    ...about,
  );
  const requestBytes = histogram('http_server_request_body_size_bytes', BYTES, 'Bodies of invocations.');
  const responseBytes = histogram('http_server_response_body_size_bytes', BYTES, 'Bodies of their answers.');
  const what = ['function', 'trigger'];
  const invoked = histogram('faas_invoke_duration_seconds', SECONDS, 'Invocations, to the last byte.', ...what);
  const initialized = histogram('faas_init_duration_seconds', SECONDS, 'Answers to /initialize.');
  const firstByte = histogram('noslate_fc_first_byte_seconds', SECONDS, 'From an invocation to its head.');
  const queued = histogram('noslate_fc_queue_seconds', SECONDS, 'Waits for a place among SERVER_MAX_CONCURRENCY.');
  const invocations = counter('faas_invocations_total', 'Invocations that are over.', ...what);
  const errors = counter('faas_errors_total', 'Invocations that failed.', ...what);
  const timeouts = counter('faas_timeouts_total', 'Invocations that failed for their deadline.', ...what);
  const coldStarts = counter('faas_coldstarts_total', 'First invocations of an instance.', ...what);
  const outcomes = counter('noslate_fc_outcomes_total', 'Requests that are over, by how.', 'kind', 'code');
  const gone = counter('noslate_fc_client_gone_total', 'Clients that left, before the head or after it.', 'moment');
  const refused = counter('noslate_fc_refused_total', 'Bytes that were no request, answered.', 'code');
  const connections = counter('noslate_fc_connections_total', 'Connections of clients.');
  const unserved = counter('noslate_fc_connections_refused_total', 'Connections above a limit, closed.', 'reason');
  const families: readonly Family[] = [
    ...[duration, requestBytes, responseBytes, invoked, initialized, firstByte, queued],
    ...[invocations, errors, timeouts, coldStarts, outcomes, gone, refused, connections, unserved],
  ];

  const sockets = { open: 0 };
  let active = 0;
  server.on('connection', socket => {
    connections.at().value++;
    sockets.open++;
    socket.on('close', () => sockets.open--);
  });
  const runtime = watchRuntime();

  let names = namesOf(gateway);
  let named = gateway.profile;
  /** What ran, if it is of the profile. */
  function functionOf(name: string): string {
    if (named !== gateway.profile) {
      named = gateway.profile;
      names = namesOf(gateway);
    }
    return name === '' || names.has(name) ? name : OTHER;
  }

  function end(exchange: Exchange, outcome: Outcome): void {
    const { req, res, kind, route, startedAt, firstByteMs, queuedMs } = exchange;
    active--;
    const isCall = kind === 'event' || kind === 'http';
    const seconds = (now() - startedAt) / 1000;
    const method = knownMethod(req.method);
    // nothing was sent to who left before
    const status = firstByteMs === undefined ? '' : res.statusCode;
    observe(duration.at(method, status, isCall ? route : kind), seconds);
    const { error } = exchange;
    const code = error?.code ?? (outcome === 'ok' ? 'ok' : 'client_gone');
    outcomes.at(kind, code).value++;
    if (code === 'client_gone') gone.at(firstByteMs === undefined ? 'before_head' : 'body').value++;
    if (kind === 'initialize') observe(initialized.at(), seconds);
    if (!isCall) return;
    observe(requestBytes.at(), exchange.bytesIn);
    observe(responseBytes.at(), exchange.bytesOut);
    if (firstByteMs !== undefined) observe(firstByte.at(), firstByteMs / 1000);
    if (queuedMs !== undefined) observe(queued.at(), queuedMs / 1000);
    const name = functionOf(exchange.function);
    const trigger = kind === 'http' ? 'http' : 'other';
    observe(invoked.at(name, trigger), seconds);
    invocations.at(name, trigger).value++;
    if (exchange.isCold) coldStarts.at(name, trigger).value++;
    if (error === undefined) return;
    errors.at(name, trigger).value++;
    if (TIMEOUTS.has(error.code)) timeouts.at(name, trigger).value++;
  }

  function gauges(): Family[] {
    const { rss, heapUsed, external } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    const { heap_size_limit: limit } = getHeapStatistics();
    const { reloads } = gateway;
    const build = `${label('version', version)},${label('node', process.version)}`;
    return [
      told('gauge', 'http_server_active_requests', 'Requests that are being answered.', active),
      told(
        'gauge',
        'noslate_fc_invocations',
        'Invocations that were let in and are not over.',
        gateway.invocations.size,
      ),
      told('gauge', 'noslate_fc_queue_depth', 'Invocations that wait for a place.', gateway.queue.depth),
      told('gauge', 'noslate_fc_connections', 'Connections that are open.', sockets.open),
      told('gauge', 'noslate_fc_draining', '1 from SIGTERM or /pre-stop on.', Number(gateway.draining)),
      told('counter', 'noslate_fc_reloads_total', 'Readings of noslate.json after the first.', reloads.total),
      told('gauge', 'noslate_fc_reload_succeeded', '0 when the last reading failed.', Number(reloads.succeeded)),
      told('counter', 'noslate_fc_log_lines_dropped_total', 'Lines that nobody read.', gateway.log.dropped()),
      told('gauge', 'nodejs_eventloop_delay_p50_seconds', 'Delay since the last scrape.', runtime.delay(50)),
      told('gauge', 'nodejs_eventloop_delay_p99_seconds', 'Delay since the last scrape.', runtime.delay(99)),
      told('counter', 'v8js_gc_seconds_total', 'Time in garbage collections.', runtime.gcSeconds()),
      told('gauge', 'v8js_memory_heap_used_bytes', 'Heap in use.', heapUsed),
      told('gauge', 'v8js_memory_heap_limit_bytes', 'Most that the heap may have.', limit),
      told('gauge', 'nodejs_external_memory_bytes', 'Buffers and the like.', external),
      told('gauge', 'process_resident_memory_bytes', 'Memory in use.', rss),
      told('counter', 'process_cpu_seconds_total', 'CPU used, user and system.', (user + system) / 1e6),
      told('gauge', 'process_start_time_seconds', 'Start, in seconds since 1970.', STARTED_AT),
      told('gauge', 'process_open_fds', 'Open file descriptors.', countOf('/proc/self/fd')),
      resources(),
      told('gauge', 'noslate_fc_build_info', 'What runs.', 1, build),
    ];
  }

  return {
    begin() {
      active++;
    },
    end,
    refuse(code) {
      refused.at(code).value++;
    },
    refuseConnection(reason) {
      unserved.at(reason).value++;
    },
    text(isOpen) {
      const blocks = [...families, ...agentFamilies(gateway.agent?.stats?.() ?? NO_AGENT), ...gauges()].map(
        ({ name, help, type, lines }) => {
          const own = lines();
          // a counter's family has no suffix in OpenMetrics
          const title = isOpen && type === 'counter' ? name.replace(/_total$/, '') : name;
          return own.length === 0 ? '' : `# HELP ${title} ${help}\n# TYPE ${title} ${type}\n${own.join('\n')}\n`;
        },
      );
      runtime.reset();
      return `${blocks.join('')}${isOpen ? '# EOF\n' : ''}`;
    },
  };
}

const STARTED_AT = Math.round(Date.now() / 1000 - process.uptime());

function namesOf({ profile }: Gateway): ReadonlySet<string> {
  return new Set([
    ...profile.functions.map(({ name }) => name),
    ...profile.services.map(({ name }) => `service:${name}`),
  ]);
}

/** Timers, sockets and the like that the event loop knows, by type. Node 16 cannot tell. */
function resources(): Family {
  const { getActiveResourcesInfo = () => [] } = process as { getActiveResourcesInfo?: () => string[] };
  const counts: Record<string, number> = {};
  for (const type of getActiveResourcesInfo()) counts[type] = (counts[type] ?? 0) + 1;
  const name = 'nodejs_active_resources';
  const lines = Object.entries(counts).map(([type, count]) => line(name, label('type', type), count));
  return { name, help: 'What keeps the event loop going.', type: 'gauge', lines: () => lines };
}

function countOf(folder: string): number {
  try {
    return readdirSync(folder).length;
  } catch {
    // no Linux
    return 0;
  }
}

/** Looks at the event loop and at garbage collections from now on. */
function watchRuntime(): { delay(percentile: number): number; reset(): void; gcSeconds(): number } {
  const loop = monitorEventLoopDelay({ resolution: 10 });
  loop.enable();
  let ms = 0;
  const observer = new PerformanceObserver(list => {
    for (const { duration } of list.getEntries()) ms += duration;
  });
  observer.observe({ entryTypes: ['gc'] });
  return {
    // of no samples there is none, and what is measured has the resolution in it
    delay: percentile => Math.max(0, (loop.percentile(percentile) || 0) / 1e9 - 0.01),
    reset: () => loop.reset(),
    gcSeconds: () => ms / 1000,
  };
}
