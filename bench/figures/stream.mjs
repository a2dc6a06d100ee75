// Large bodies, readers that stand still, and streams that hardly say anything.
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { drain, open, text, zeros } from '../client.mjs';
import { cpuSeconds, memory, resetPeak, stop, within } from '../process.mjs';
import { interleave, say, startAll, stopAll } from '../run.mjs';
import { taking, targets } from '../targets.mjs';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
/** How often memory is looked at, ms. */
const LOOK_MS = 100;
const ANSWER_MS = 60_000;
/** Of a body: what is carried to warm up, and what rivals carry, who take long. */
const WARM_SHARE = 1 / 8;
const RIVAL_SHARE = 1 / 4;

/** What goes where: the function, and what is done with a target. Resolves with the bytes that came back. */
const WAYS = {
  down: {
    title: 'down',
    call: '@source',
    carry: async (port, bytes) => drain(await open(port, { method: 'GET', path: `/${bytes}` })),
  },
  up: {
    title: 'up',
    call: '@sink',
    carry: async (port, bytes) =>
      Number(await text(await open(port, { headers: { 'content-length': bytes }, body: zeros(bytes) }))),
  },
  both: {
    title: 'both ways',
    call: '@echo',
    carry: async (port, bytes) => drain(await open(port, { headers: { 'content-length': bytes }, body: zeros(bytes) })),
  },
};

/** Carries so many bytes one way, or both: `down`, `up`, `both`. The floor only goes down; rivals carry fewer. */
export async function throughput(way, rounds, amount, all = taking('stream')) {
  const { title, call, carry } = WAYS[way];
  const names = all.filter(name => name !== 'pipe' || way === 'down');
  say(`stream: ${amount / MIB} MiB ${title}, ${rounds} rounds`);
  const started = await startAll(Object.fromEntries(names.map(name => [name, targets[name].launch(call)])));
  const samples = await interleave(rounds, names, async (name, isWarmUp) => {
    const { child, port } = started[name];
    const isRival = name !== 'pipe' && !targets[name].isOurs;
    const bytes = amount * (isRival ? RIVAL_SHARE : 1) * (isWarmUp ? WARM_SHARE : 1);
    const cpu = cpuSeconds(child);
    const begun = performance.now();
    const got = await carry(port, bytes);
    const seconds = (performance.now() - begun) / 1000;
    // what is piped as it comes from the plane has gRPC's and protobuf's framing
    if (got < bytes || got > bytes * (name === 'pipe' ? 1.001 : 1))
      throw new Error(`${name}: ${got} of ${bytes} bytes`);
    return { speed: bytes / MIB / seconds, cpu: ((cpuSeconds(child) - cpu) * GIB) / bytes };
  });
  const peaks = names.map(name => [name, [memory(started[name].child).peak / MIB]]);
  await stopAll(started);
  const table = (id, what, unit, digits, values) => ({
    id: `stream-${way}-${id}`,
    title: `${what}, ${title}`,
    unit,
    digits,
    samples: values,
  });
  return [
    table('speed', 'throughput', 'MiB/s', 0, samples.speed),
    table('cpu', 'CPU per GiB', 's', 2, samples.cpu),
    table('rss', 'RSS, most', 'MiB', 1, Object.fromEntries(peaks)),
  ];
}

/** Memory of a target over time, MiB above its first, while something goes on. Gives [s, MiB] and what that resolves with. */
async function watch(child, run) {
  const first = memory(child).now;
  resetPeak(child);
  const begun = performance.now();
  const line = [];
  const look = () => line.push([(performance.now() - begun) / 1000, (memory(child).now - first) / MIB]);
  look();
  const timer = setInterval(look, LOOK_MS);
  const result = await run().finally(() => clearInterval(timer));
  look();
  return { line, growth: (memory(child).peak - first) / MIB, result };
}

/** A gibibyte down to a reader who stands still at first, and one up to a function that does. */
export async function stalls(planes, bytes, stallMs, names = taking('stream').filter(name => name !== 'pipe')) {
  const growths = { down: {}, up: {} };
  const series = {};
  for (const name of names) {
    say(`stream: ${bytes / MIB} MiB each way, the reader stands still for ${stallMs} ms: ${name}`);
    const down = await startAll({ it: targets[name].launch('@source') });
    await WAYS.down.carry(down.it.port, 1024);
    const { line, growth } = await watch(down.it.child, async () =>
      drain(await open(down.it.port, { method: 'GET', path: `/${bytes}` }), stallMs),
    );
    series[name] = line;
    growths.down[name] = [growth];
    await stopAll(down);

    const up = await startAll({ it: targets[name].launch('@sink') });
    await WAYS.up.carry(up.it.port, 1024);
    const upward = await watch(up.it.child, async () => {
      // the plane stands still once, after the first message
      await planes.setKnobs({ slowReaderMs: stallMs });
      const answer = WAYS.up.carry(up.it.port, bytes);
      await sleep(stallMs / 2);
      await planes.setKnobs({ slowReaderMs: 0 });
      return answer;
    });
    growths.up[name] = [upward.growth];
    await stopAll(up);
  }
  return {
    tables: [
      {
        id: 'stall-down',
        title: 'growth of RSS, the client stands still',
        unit: 'MiB',
        digits: 1,
        samples: growths.down,
      },
      {
        id: 'stall-up',
        title: 'growth of RSS, the function stands still',
        unit: 'MiB',
        digits: 1,
        samples: growths.up,
      },
    ],
    curves: [{ id: 'stall', title: 'RSS while the client stands still', x: 's', y: 'MiB more', series }],
  };
}

/** So many responses that stay open after their head, as event streams do; the time to each's first byte. */
async function idle(count) {
  const names = taking('stream').filter(name => name !== 'pipe');
  say(`stream: ${count} open streams`);
  const first = {};
  const held = {};
  for (const name of names) {
    const { it } = await startAll({ it: targets[name].launch('@echo') });
    await WAYS.both.carry(it.port, 1024);
    const before = memory(it.child).now;
    const sockets = [];
    const times = [];
    for (let i = 0; i < count; i++) {
      const begun = performance.now();
      const socket = connect(it.port, '127.0.0.1');
      sockets.push(socket);
      const heard = new Promise((done, fail) => {
        socket.once('data', done);
        socket.once('error', fail);
      });
      // a request body that does not end: the echo goes on as long
      socket.write('POST / HTTP/1.1\r\nhost: bench\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n');
      await within(ANSWER_MS, heard, 'the head of a stream');
      times.push(performance.now() - begun);
    }
    first[name] = times;
    held[name] = [(memory(it.child).now - before) / 1024 / count];
    for (const socket of sockets) socket.destroy();
    await stop(it.child);
  }
  return [
    { id: 'idle-first', title: `time to the first byte of ${count} streams`, unit: 'ms', digits: 2, samples: first },
    { id: 'idle-rss', title: `RSS per open stream, of ${count}`, unit: 'KiB', digits: 1, samples: held },
  ];
}

export async function stream({ rounds, bytes, stallMs, streams }, planes) {
  const tables = [];
  for (const way of Object.keys(WAYS)) tables.push(...(await throughput(way, rounds, bytes)));
  const stalled = await stalls(planes, bytes, stallMs);
  tables.push(...stalled.tables, ...(await idle(streams)));
  return { tables, curves: stalled.curves };
}
