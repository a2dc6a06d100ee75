// Requests a second, latency and CPU, by connections, size of the body and kind of call.
import { memory } from '../process.mjs';
import { charge, load as generate, interleave, pace, say, startAll, stopAll, warmUp } from '../run.mjs';
import { taking, targets } from '../targets.mjs';

const KIB = 1024;
const MIB = 1024 * KIB;
const EVENT = { 'x-fc-control-path': '/invoke' };
/** [connections, bytes, is an event call] */
const CASES = [
  [32, KIB, false],
  [1, KIB, false],
  [200, KIB, false],
  [32, 0, false],
  [32, 64 * KIB, false],
  [32, KIB, true],
];
/** Of a round's time: what each case warms up by, after the requests that have warmed up all. */
const WARM_SHARE = 1 / 4;
/** A rate that all targets can answer, requests a second. */
const RATE = 1000;

const size = bytes => (bytes === 0 ? 'no body' : `${bytes / KIB} KiB`);

/** Starts targets and sends each as many requests: what answers fewer in a time must not be measured colder. */
export async function startWarm(names, amount) {
  say(`load: ${amount} requests each to warm up`);
  const started = await startAll(Object.fromEntries(names.map(name => [name, targets[name].launch('@echo')])));
  for (const target of Object.values(started)) await warmUp(target, amount);
  return started;
}

/** Sends as fast as each answers. */
export function atFullSpeed(started, names, rounds, options) {
  return interleave(rounds, names, async (name, isWarmUp) => {
    const run = { ...options, seconds: options.seconds * (isWarmUp ? WARM_SHARE : 1) };
    const { answered, seconds, latency, cpu } = await charge(started[name], () => generate(started[name].port, run));
    const { p50, p90, p99, max } = latency;
    return { rate: answered / seconds, cpu, p50, p90, p99, max };
  });
}

/** Sends 1 KiB at one even rate. */
export function atEvenRate(started, names, rounds, seconds) {
  return interleave(rounds, names, async name => {
    const options = { rate: RATE, seconds, connections: 32 };
    const { cpu } = await charge(started[name], () => pace(started[name].port, options));
    return { cpu };
  });
}

/** What runs functions itself, the rest being the plane's to tell, and what differs from another target by its log. */
const ONCE = ['local', 'framework', 'nativeLog'];

/** Event calls are ours alone. */
function takingPart(names, i, isEvent) {
  if (isEvent) return ['floor', 'native', 'local'];
  return i === 0 ? names : names.filter(name => !ONCE.includes(name));
}

export async function load({ rounds, seconds, warm, paced }) {
  const names = taking('load');
  const started = await startWarm(names, warm);
  const tables = [];
  const table = (id, title, unit, digits, samples) => tables.push({ id, title, unit, digits, samples });
  for (const [i, [connections, bytes, isEvent]] of CASES.entries()) {
    const what = `${connections} connections, ${size(bytes)}${isEvent ? ', event call' : ''}`;
    const id = `load-${connections}-${bytes}${isEvent ? '-event' : ''}`;
    say(`load: ${what}, ${rounds} rounds of ${seconds} s`);
    const options = { connections, body: 'x'.repeat(bytes), seconds };
    if (isEvent) Object.assign(options, { path: '/invoke', headers: EVENT });
    const samples = await atFullSpeed(started, takingPart(names, i, isEvent), rounds, options);
    table(`${id}-rate`, `requests a second, ${what}`, '/s', 0, samples.rate);
    table(`${id}-cpu`, `CPU per request, ${what}`, 'µs', 1, samples.cpu);
    for (const key of ['p50', 'p90', 'p99', 'max'])
      table(`${id}-${key}`, `latency ${key}, ${what}`, 'ms', 0, samples[key]);
  }
  say(`load: ${RATE} requests a second, ${paced.rounds} rounds of ${paced.seconds} s`);
  const { cpu } = await atEvenRate(started, names, paced.rounds, paced.seconds);
  table('paced-cpu', `CPU per request at ${RATE} a second, 1 KiB`, 'µs', 1, cpu);
  const peaks = names.map(name => [name, [memory(started[name].child).peak / MIB]]);
  table('load-rss', 'RSS under load, most', 'MiB', 1, Object.fromEntries(peaks));
  await stopAll(started);
  return { tables, curves: [] };
}
