import { PassThrough, Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import { createUpload, type Upload } from '../../src/noslate/upload.ts';
import { deferred, suite, within } from '../helpers.ts';
import { openBody, pattern } from './bench.ts';

const KEPT = 256 * 1024;
const turn = (): Promise<void> => new Promise(done => setImmediate(done));

/** Starts an attempt and collects what it gets. */
function attempt(upload: Upload, isTaken: () => boolean = () => true) {
  const chunks: (Buffer | undefined)[] = [];
  const ended = deferred();
  upload.start((chunk, isEnd) => {
    chunks.push(chunk);
    if (isEnd) ended.resolve();
    return isTaken();
  });
  return {
    chunks,
    bytes: () => Buffer.concat(chunks.filter((chunk): chunk is Buffer => chunk !== undefined)),
    ended: () => within(5000, ended.promise, 'the end of an upload'),
  };
}

const uploads = suite('upload');

uploads('should begin with what is there, or with nothing', async () => {
  const empty = attempt(createUpload(openBody()));
  assert.equal(empty.chunks, [undefined]);
  const body = openBody();
  body.push('one');
  const filled = attempt(createUpload(body));
  assert.equal(filled.chunks.map(String), ['one']);
  body.push('two');
  await turn();
  assert.equal(filled.chunks.map(String), ['one', 'two']);
  body.push(null);
  await filled.ended();
  assert.is(filled.chunks.length, 3);
});

uploads('should end at once for a request that is there as a whole, and for a body that was read before', async () => {
  const request = Object.assign(openBody(), { complete: true });
  request.push('all');
  const whole = attempt(createUpload(request));
  await whole.ended();
  assert.equal(whole.chunks.map(String), ['all']);
  const read = Readable.from([]);
  for await (const _ of read);
  await attempt(createUpload(read)).ended();
});

uploads('should hand on together what comes in one turn, also when it is sent again', async () => {
  const bytes = pattern(150_000);
  const body = openBody();
  const upload = createUpload(body);
  const first = attempt(upload);
  // read on, as node:http does, in the turn in which it comes
  body.resume();
  await turn();
  for (const byte of bytes.subarray(0, 100_000)) body.push(Buffer.of(byte));
  // cut off with some of them still to be handed on
  upload.stop();
  const second = attempt(upload);
  await turn();
  for (const byte of bytes.subarray(100_000)) body.push(Buffer.of(byte));
  body.push(null);
  await second.ended();
  assert.ok(first.chunks.length <= 3, `${first.chunks.length} chunks`);
  assert.ok(second.chunks.length <= 5, `${second.chunks.length} chunks`);
  assert.ok(second.bytes().equals(bytes));
  assert.is(upload.isRepeatable(), true);
});

uploads('should send the same bytes again, and then the rest', async () => {
  for (const size of [0, 1, KEPT]) {
    const bytes = pattern(size + 5);
    const body = openBody();
    if (size > 0) body.push(bytes.subarray(0, size));
    const upload = createUpload(body);
    const first = attempt(upload);
    await turn();
    assert.is(upload.isRepeatable(), true);
    upload.stop();
    assert.ok(first.bytes().equals(bytes.subarray(0, size)));
    body.push(bytes.subarray(size));
    await turn();
    const second = attempt(upload);
    body.push(null);
    await second.ended();
    assert.ok(second.bytes().equals(bytes), `${size} bytes`);
    assert.ok(first.bytes().equals(bytes.subarray(0, size)));
  }
});

uploads('should send again a body that had come to its end', async () => {
  const body = openBody();
  body.push('all');
  body.push(null);
  const upload = createUpload(body);
  await attempt(upload).ended();
  upload.stop();
  const again = attempt(upload);
  await again.ended();
  assert.is(String(again.bytes()), 'all');
});

uploads('should not be repeatable once more is gone than is kept', async () => {
  const body = openBody();
  body.push(Buffer.alloc(KEPT));
  const upload = createUpload(body);
  attempt(upload);
  assert.is(upload.isRepeatable(), true);
  body.push('x');
  await turn();
  assert.is(upload.isRepeatable(), false);
});

uploads('should stand still when a chunk is not taken, and go on', async () => {
  let isTaken = false;
  const body = new PassThrough();
  body.write('one');
  const upload = createUpload(body);
  const { chunks, ended } = attempt(upload, () => isTaken);
  body.write('two');
  body.write('three');
  await turn();
  const before = chunks.length;
  assert.ok(before < 3, `${before} chunks`);
  await turn();
  assert.is(chunks.length, before);
  isTaken = true;
  upload.resume();
  body.end();
  await ended();
  assert.is(chunks.map(chunk => chunk ?? '').join(''), 'onetwothree');
});

uploads('should leave the rest unread after a stop, to whoever wants it', async () => {
  const body = openBody();
  body.push('one');
  const upload = createUpload(body);
  const { chunks } = attempt(upload);
  upload.stop();
  upload.resume();
  body.push('two');
  await turn();
  assert.equal(chunks.map(String), ['one']);
  assert.is(body.isPaused(), true);
  assert.equal([body.listenerCount('data'), body.listenerCount('end')], [0, 0]);
  body.resume();
  // again: the answer is over, and the rest runs out
  upload.stop();
  assert.is(body.isPaused(), false);
});

uploads('should hand on no more than can be sent again while it is held, and then all', async () => {
  const bytes = pattern(3 * KEPT);
  const body = Readable.from(slices(bytes), { objectMode: false });
  const upload = createUpload(body);
  upload.hold();
  const first = attempt(upload);
  for (let i = 0; i < 50; i++) await turn();
  assert.ok(first.bytes().length >= KEPT && first.bytes().length < KEPT + 2 * SLICE, String(first.bytes().length));
  upload.resume();
  await turn();
  assert.ok(first.bytes().length < KEPT + 2 * SLICE);
  assert.is(upload.isRepeatable(), true);
  upload.stop();
  const second = attempt(upload);
  assert.ok(second.bytes().equals(first.bytes()));
  upload.letGo();
  await second.ended();
  assert.ok(second.bytes().equals(bytes));
  assert.is(upload.isRepeatable(), false);
});

const SLICE = 16_000;
function* slices(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += SLICE) yield bytes.subarray(at, at + SLICE);
}

uploads.run();
