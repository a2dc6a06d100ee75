import { connect } from 'node:net';
import * as assert from 'uvu/assert';
import { get, NOT_LINUX, type Server, startServer, suite, within, without } from '../helpers.ts';
import { parseAnswers } from '../http-answers.ts';
import { expectUnharmed, faultsOf, type MarkedRow, OPTIONS, seenBy, socketsOf, untilSeen, withMarks } from './peer.ts';
import { PROXIES, type Relay, type RunningProxy, startProxy, startRelay } from './proxies.ts';
import { requestsIn } from './requests.ts';
import { TABLE } from './table.ts';

/** Listeners of a proxy, each with a connection of its own to us: on one, everything has its turn. */
const LANES = 8;

/** Sends bytes, and resolves with what comes, when the connection is over or an answer tells of `last`. */
async function talk(file: string, bytes: string, last: string, leaves: boolean): Promise<string> {
  const socket = connect(file);
  let received = '';
  socket.setEncoding('latin1');
  try {
    await within(
      10_000,
      new Promise<void>(done => {
        socket.on('error', () => {});
        socket.on('close', () => done());
        socket.on('data', (text: string) => {
          received += text;
          const at = received.indexOf(last);
          // with its body
          if (at >= 0 && received.includes('told\r\n0\r\n\r\n', at)) done();
        });
        socket.write(bytes, 'latin1');
        if (leaves) socket.end();
      }),
      `the end of ${JSON.stringify(bytes.slice(0, 100))}`,
    );
    return received;
  } finally {
    socket.destroy();
  }
}

/** What the function says that it was told, in all that a client received. */
const toldIn = (received: string): string[] =>
  [...received.matchAll(/^x-told: (.*)\r$/gm)].map(match => match[1] ?? '');

/** What became of rows. */
interface Tally {
  /** Something of them came to us. */
  reached: number;
  /** The next client was served on the connection on which they came. */
  shared: number;
}

/** Sends a row, and then what another client asks, through one connection to us where there is one. */
async function check(file: string, { upstreams }: Relay, row: MarkedRow, tally: Tally): Promise<void> {
  const { mark, bytes, sentinel, leaves } = row;
  const received = await talk(file, leaves ? bytes : bytes + get(sentinel), `x-told: GET ${sentinel} `, leaves);
  const before = upstreams.filter(({ sent }) => sent.includes(mark));

  const probe = `/probe?${mark}`;
  const answer = await talk(file, get(probe, 'connection: close\r\n'), 'not to come', false);
  const answers = parseAnswers(answer).map(({ status, headers }) => `${status} ${headers.get('x-told')}`);
  assert.equal(
    answers,
    [`200 GET ${probe} test 0`],
    `the next client was told ${JSON.stringify(answer.slice(0, 500))}`,
  );
  // not every row has room for its mark in what the function tells of
  const isOwn = (told: string): boolean =>
    told.includes(mark) || row.answers.some(item => item.split(' ')[2] === told.split(' ')[1]);
  const foreign = toldIn(received).filter(told => !isOwn(told));
  assert.equal(foreign, []);
  assert.not.match(received, probe);

  if (before.length > 0) tally.reached++;
  if (before.some(({ sent }) => sent.includes(probe))) tally.shared++;
}

for (const name of PROXIES) {
  const skip = NOT_LINUX ?? without(name, name === 'nginx' ? 'nginx-light' : name);
  const behind = suite(`hostile bytes behind ${name}`, { skip });

  let server: Server;
  let relays: Relay[] = [];
  let proxy: RunningProxy;
  let sockets = 0;

  behind('should start', async () => {
    server = await startServer(OPTIONS);
    await untilSeen(server);
    sockets = socketsOf(server);
    relays = await Promise.all(Array.from({ length: LANES }, () => startRelay(server.port)));
    proxy = await startProxy(
      name,
      relays.map(({ port }) => port),
    );
  });

  behind('should be no more requests than the proxy sends, and have no say in another client’s answer', async () => {
    const rows = withMarks(TABLE, name.slice(0, 1));
    const tally: Tally = { reached: 0, shared: 0 };
    const faults = await Promise.all(
      relays.map((relay, i) =>
        faultsOf(
          rows.filter((_, place) => place % LANES === i),
          1,
          row => check(proxy.files[i] ?? '', relay, row, tally),
        ),
      ),
    );
    await untilSeen(server);
    const sent = relays.flatMap(({ upstreams }) => upstreams.flatMap(upstream => requestsIn(upstream.sent)));
    const seen = seenBy(server);
    const unmeant = rows.flatMap(({ mark, name: what }) => {
      const asked = sent.filter(request => request.mark === mark).map(({ line }) => line);
      const extra = (seen.get(mark) ?? []).filter(line => {
        const at = asked.indexOf(line);
        if (at >= 0) asked.splice(at, 1);
        return at < 0;
      });
      return extra.length === 0 ? [] : [`${mark} ${what}: ${JSON.stringify(extra)}`];
    });
    assert.equal([...faults.flat(), ...unmeant], []);
    if (process.env['SHOW_REACHED']) console.log(`${name}: of ${rows.length}`, tally);
    // else all of this says nothing
    assert.ok(tally.reached > 100, `${tally.reached} rows came to us`);
    assert.ok(tally.shared > 50, `${tally.shared} connections were shared`);
  });

  behind('should leave nothing behind', async () => {
    await proxy.stop();
    for (const relay of relays) relay.close();
    await expectUnharmed(server, sockets);
    await server.stop();
  });

  behind.run();
}
