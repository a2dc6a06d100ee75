import * as assert from 'uvu/assert';
import { get, raw, type Server, startServer, suite, within } from '../helpers.ts';
import { parseAnswers } from '../http-answers.ts';
import { expectUnharmed, faultsOf, type MarkedRow, OPTIONS, seenBy, socketsOf, untilSeen, withMarks } from './peer.ts';
import { TABLE } from './table.ts';

/** Longest row that is sent a byte at a time. */
const MAX_CUT = 8 * 1024;

/** What is sent of a row, in all. */
const bytesOf = ({ bytes, sentinel, leaves }: MarkedRow): string => (leaves ? bytes : bytes + get(sentinel));

/** The outcomes that are right. */
const outcomesOf = (row: MarkedRow): Pick<MarkedRow, 'answers' | 'ends'>[] =>
  [row, row.or ?? []].flat().map(({ answers, ends }) => ({
    answers: ends ? answers : [...answers, `200 GET ${row.sentinel} test 0`],
    ends,
  }));

/** Expects the right answers on a connection of its own, and nothing behind them. */
async function check(server: Server, row: MarkedRow, isCut: boolean): Promise<void> {
  const { sentinel, leaves } = row;
  const connection = await raw(server.port);
  const { socket } = connection;
  const toldOf = (text: string): string[] =>
    parseAnswers(text).map(({ status, headers }) => `${status} ${headers.get('x-told') ?? ''}`.trim());
  // where the connection stays, the sentinel's is the last answer
  const isAnswered = (): boolean => toldOf(connection.received()).some(told => told.includes(sentinel));
  const over = new Promise<unknown>((done, fail) => {
    socket.on('data', () => {
      try {
        if (isAnswered()) done(undefined);
      } catch (error) {
        fail(error);
      }
    });
    connection.closed.then(done);
  });
  over.catch(() => {});
  try {
    if (isCut) {
      socket.setNoDelay(true);
      for (const byte of bytesOf(row)) {
        if (!socket.writable) break;
        await new Promise(done => socket.write(byte, 'latin1', done));
        await new Promise(done => setImmediate(done));
      }
    } else socket.write(bytesOf(row), 'latin1');
    if (leaves) socket.end();
    await within(10_000, over, `the last answer, got ${JSON.stringify(connection.received())}`);
    const ends = !isAnswered();
    socket.end();
    await within(10_000, connection.closed, 'the end of the connection');
    const told = toldOf(connection.received());
    const outcomes = outcomesOf(row);
    const outcome = outcomes.find(({ answers }) => answers.join('\n') === told.join('\n')) ?? outcomes[0];
    assert.equal({ answers: told, ends }, outcome, JSON.stringify(connection.received().slice(0, 300)));
    const last = parseAnswers(connection.received()).pop();
    if (last !== undefined && last.status !== 100)
      assert.is(last.headers.get('connection'), ends ? 'close' : 'keep-alive');
  } finally {
    socket.destroy();
  }
}

/** Says what the function was asked that it should not have been, or not what it should have been. */
function unmeant(server: Server, rows: readonly MarkedRow[]): string[] {
  const seen = seenBy(server);
  return rows.flatMap(row => {
    const meant = outcomesOf(row).map(({ answers }) =>
      answers.flatMap(answer => /^200 (\S+ \S+)/.exec(answer)?.[1] ?? []).join('\n'),
    );
    const all = seen.get(row.mark) ?? [];
    const first = `POST /r?${row.mark}`;
    const isMeant =
      meant.includes(all.join('\n')) || (row.begins && all[0] === first && meant.includes(all.slice(1).join('\n')));
    return isMeant ? [] : [`${row.mark} ${row.name}: expected ${JSON.stringify(meant)}, got ${JSON.stringify(all)}`];
  });
}

const hostile = suite('hostile bytes');

let server: Server;
let sockets = 0;

hostile('should start', async () => {
  const names = TABLE.map(({ name }) => name);
  assert.equal(
    names.filter((name, i) => names.indexOf(name) !== i),
    [],
    'two rows of one name',
  );
  assert.ok(TABLE.length >= 150);
  server = await startServer(OPTIONS);
  await untilSeen(server);
  sockets = socketsOf(server);
});

hostile('should be answered as they ought to, and nothing in them be a request that is none', async () => {
  const rows = withMarks(TABLE, 'w');
  assert.equal(await faultsOf(rows, 32, row => check(server, row, false)), []);
  await untilSeen(server);
  assert.equal(unmeant(server, rows), []);
});

hostile('should be so a byte at a time', async () => {
  const rows = withMarks(TABLE, 'c').filter(row => bytesOf(row).length <= MAX_CUT);
  assert.equal(await faultsOf(rows, 64, row => check(server, row, true)), []);
  await untilSeen(server);
  assert.equal(unmeant(server, rows), []);
});

hostile('should leave nothing behind', async () => {
  await expectUnharmed(server, sockets);
  await server.stop();
});

hostile.run();
