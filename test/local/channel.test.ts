import { Readable } from 'node:stream';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { Inlet } from '../../src/inlet.ts';
import { createOutlet, MESSAGE_COST, sendBody } from '../../src/local/channel.ts';
import { read, suite, within } from '../helpers.ts';

const WINDOW = 192 * 1024;
const PIECE = 64 * 1024;

/** An outlet and an inlet with a wire between them that takes one turn each way, as a port does. */
function connect(): {
  outlet: ReturnType<typeof createOutlet>;
  inlet: Inlet;
  send: (piece: Uint8Array | undefined, isEnd: boolean) => void;
  unread: () => number;
  pieces: Uint8Array[];
} {
  let posted = 0;
  let granted = 0;
  const pieces: Uint8Array[] = [];
  const send = (piece: Uint8Array | undefined, isEnd: boolean): void => {
    if (piece !== undefined) {
      posted += Math.max(piece.length, MESSAGE_COST);
      pieces.push(piece);
    }
    setImmediate(() => inlet.receive(piece, isEnd));
  };
  const outlet = createOutlet(send);
  const inlet = new Inlet(
    bytes => {
      granted += bytes;
      setImmediate(() => outlet.grant(bytes));
    },
    () => {},
    MESSAGE_COST,
  );
  return { outlet, inlet, send, unread: () => posted - granted, pieces };
}

const turn = (): Promise<void> => new Promise(done => setImmediate(done));
const nothing = (): void => {};

const channel = suite('channel');

channel('should bring over any body in any chunks to any reader, within its window', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 300_000 }), { maxLength: 12 }),
      fc.array(fc.boolean(), { maxLength: 12 }),
      async (sizes, pauses) => {
        const body = Buffer.concat(sizes.map((size, i) => Buffer.alloc(size, i + 1)));
        const source = Readable.from(
          sizes.map((size, i) => Buffer.alloc(size, i + 1)),
          { objectMode: false },
        );
        const { outlet, inlet, send, unread, pieces } = connect();
        sendBody(source, outlet, send);
        const chunks: Buffer[] = [];
        for await (const chunk of inlet) {
          chunks.push(chunk as Buffer);
          assert.ok(unread() <= WINDOW + MESSAGE_COST, `${unread()} bytes on their way`);
          if (pauses[chunks.length % 12] === true) await new Promise(done => setImmediate(done));
        }
        assert.ok(Buffer.concat(chunks).equals(body));
        assert.ok(
          pieces.every(piece => piece.length > 0 && piece.length <= PIECE && piece.buffer.byteLength === piece.length),
        );
      },
    ),
    { numRuns: 60 },
  );
});

channel('should post no more than the window to a reader that stands still', async () => {
  const { outlet, inlet, unread } = connect();
  let done = false;
  outlet.write([Buffer.alloc(1_000_000)], true, () => {
    done = true;
  });
  for (let i = 0; i < 20; i++) await new Promise(next => setImmediate(next));
  assert.equal([unread(), done], [WINDOW, false]);
  assert.is((await within(5000, read(inlet), 'the rest')).length, 1_000_000);
  assert.is(done, true);
});

channel('should join what is written in one turn, behind its first piece', async () => {
  const { outlet, pieces, inlet } = connect();
  let written = 0;
  for (let i = 0; i < 100_000; i++) {
    outlet.write([Buffer.from('x')], false, () => written++);
  }
  assert.is(written, 100_000);
  outlet.end();
  assert.equal(
    pieces.map(({ length }) => length),
    [1, PIECE, 100_000 - PIECE - 1],
  );
  assert.is((await within(5000, read(inlet), 'the body')).length, 100_000);
});

channel('should join what was written, and not what has become of it', async () => {
  const { outlet, pieces } = connect();
  const chunk = Buffer.from('a');
  for (const text of ['a', 'b', 'c']) {
    chunk.write(text);
    outlet.write([chunk], false, nothing);
  }
  chunk.write('d');
  await turn();
  assert.equal(
    pieces.map(piece => Buffer.from(piece).toString()),
    ['a', 'bc'],
  );
});

channel('should charge a message what it takes on its way, however small', async () => {
  const posted: number[] = [];
  const outlet = createOutlet(piece => posted.push(piece?.length ?? 0));
  let isWritten = true;
  for (let turns = 0; isWritten; turns++) {
    assert.ok(turns <= WINDOW / MESSAGE_COST, `${turns} messages on their way`);
    isWritten = false;
    outlet.write([Buffer.from('x')], false, () => {
      isWritten = true;
    });
    await turn();
    await turn();
  }
  assert.is(posted.length, WINDOW / MESSAGE_COST);
  // what it waits for comes by itself: it is at rest
  await turn();
  const { getActiveResourcesInfo } = process as typeof process & { getActiveResourcesInfo(): string[] };
  assert.is(getActiveResourcesInfo().includes('Immediate'), false);
  outlet.grant(MESSAGE_COST);
  assert.is(isWritten, true);
});

channel('should give back for small messages what they no longer take, though nobody reads', async () => {
  const { outlet, inlet, unread } = connect();
  let written = 0;
  for (let isDone = true; isDone && written < 4 * WINDOW; written++) {
    isDone = false;
    const done = new Promise<void>(resolve => {
      outlet.write([Buffer.from('x')], false, () => {
        isDone = true;
        resolve();
      });
    });
    // credit is two turns away
    for (let turns = 0; turns < 4 && !isDone; turns++) await turn();
    if (!isDone) break;
    await done;
    await turn();
  }
  // they have been joined: the window is one of bytes again, but for what is on its way
  assert.ok(written > WINDOW - 2 * PIECE && written <= WINDOW, `${written} bytes`);
  assert.ok(unread() <= WINDOW + MESSAGE_COST);
  inlet.destroy();
});

channel('should end behind what waits for the end of the turn, and for credit', async () => {
  for (const sizes of [[1, 1, 1], [1, 300_000], [300_000]]) {
    const { outlet, inlet } = connect();
    for (const size of sizes) outlet.write([Buffer.alloc(size)], false, nothing);
    outlet.end();
    const bytes = await within(5000, read(inlet), 'the body');
    assert.is(
      bytes.length,
      sizes.reduce((sum, size) => sum + size, 0),
    );
  }
  const posted: unknown[] = [];
  const outlet = createOutlet((piece, isEnd) => posted.push(piece?.length, isEnd));
  outlet.write([Buffer.alloc(0)], true, nothing);
  assert.equal(posted, [undefined, true]);
});

channel('should copy what is sent: nothing else of the chunk’s memory goes along', () => {
  const { outlet, pieces } = connect();
  const pool = Buffer.from('secret before|body|secret after');
  outlet.write([pool.subarray(14, 18)], true, () => {});
  assert.is(pieces[0]?.buffer.byteLength, 4);
  pool.fill('x');
  assert.is(Buffer.from(pieces[0] ?? []).toString(), 'body');
});

channel('should let go of a writer when it is closed', () => {
  const { outlet } = connect();
  let done = false;
  outlet.write([Buffer.alloc(1_000_000)], false, () => {
    done = true;
  });
  assert.is(done, false);
  outlet.close();
  assert.is(done, true);
});

channel('should say once whether it was read to its end', async () => {
  const ends: boolean[] = [];
  const make = (): Inlet =>
    new Inlet(
      () => {},
      hasEnded => ends.push(hasEnded),
    );
  const whole = make();
  whole.receive(Buffer.from('x'), true);
  await read(whole);
  await new Promise(done => setImmediate(done));
  make().destroy();
  const unread = make();
  unread.receive(Buffer.from('x'), true);
  unread.destroy();
  unread.receive(Buffer.from('late'), true);
  const failed = make();
  failed.on('error', () => {});
  failed.destroy(new Error('x'));
  assert.equal(ends, [true, false, false, false]);
});

channel.run();
