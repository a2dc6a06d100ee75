import * as assert from 'uvu/assert';
import * as ErrorCode from '../../src/h2/error-code.ts';
import { suite, within } from '../helpers.ts';
import {
  block,
  continuation,
  data,
  Flag,
  frameOf,
  framesOf,
  goaway,
  head,
  headers,
  hear,
  listen,
  OK,
  openWatched,
  rstStream,
  Setting,
  settings,
  Type,
  uint32,
  windowUpdate,
  withPeer,
} from './peer.ts';

const { END_STREAM, END_HEADERS, PADDED, PRIORITY, ACK } = Flag;
const { ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE } = Setting;

const breaches = suite('h2 connection: breaches of the protocol');

/** Streams of a connection that is to be wronged. */
const WAITING = 1;
const ANSWERED = 3;
const COMPLETE = 5;
const CANCELLED = 7;
const IDLE = 9;

type Answer = { goaway: keyof typeof ErrorCode } | { reset: keyof typeof ErrorCode; stream: number } | 'nothing';
const goes = (code: keyof typeof ErrorCode): Answer => ({ goaway: code });
const resetsWith = (code: keyof typeof ErrorCode, stream: number = WAITING): Answer => ({ reset: code, stream });

const full = { ok: headers(WAITING, OK), end: END_STREAM | END_HEADERS };
const BREACHES: readonly [string, readonly Buffer[], Answer][] = [
  // §4.1, §4.2: frames
  ['frame above 16 384 bytes', [frameOf(0xee, 0, 0, Buffer.alloc(16_385))], goes('FRAME_SIZE_ERROR')],
  ['DATA above 16 384 bytes', [data(ANSWERED, Buffer.alloc(16_385))], goes('FRAME_SIZE_ERROR')],
  // §4.3: header blocks
  ['no HPACK', [head(WAITING, END_HEADERS, Buffer.of(0x80))], goes('COMPRESSION_ERROR')],
  ['index of a dynamic table', [head(WAITING, END_HEADERS, Buffer.of(0x88, 0xbe))], goes('COMPRESSION_ERROR')],
  ['block that ends within a field', [head(WAITING, END_HEADERS, Buffer.of(0x88, 0x00))], goes('COMPRESSION_ERROR')],
  ['table size above 0', [head(WAITING, END_HEADERS, Buffer.of(0x21, 0x88))], goes('COMPRESSION_ERROR')],
  ['no HPACK in trailers', [head(ANSWERED, full.end, Buffer.of(0x80))], goes('COMPRESSION_ERROR')],
  // §5.1: states
  ['HEADERS on an idle stream', [headers(IDLE, OK)], goes('PROTOCOL_ERROR')],
  ['DATA on an idle stream', [data(IDLE, 'x')], goes('PROTOCOL_ERROR')],
  ['RST_STREAM on an idle stream', [rstStream(IDLE, 0)], goes('PROTOCOL_ERROR')],
  ['WINDOW_UPDATE on an idle stream', [windowUpdate(IDLE, 1)], goes('PROTOCOL_ERROR')],
  ['HEADERS on a stream of the server', [headers(2, OK)], goes('PROTOCOL_ERROR')],
  ['DATA on a stream of the server', [data(2, 'x')], goes('PROTOCOL_ERROR')],
  ['HEADERS after END_STREAM', [headers(COMPLETE, OK)], goes('STREAM_CLOSED')],
  ['DATA after END_STREAM', [data(COMPLETE, 'x')], goes('STREAM_CLOSED')],
  ['DATA after RST_STREAM', [rstStream(WAITING, 8), data(WAITING, 'x')], goes('STREAM_CLOSED')],
  ['PRIORITY on an idle stream', [frameOf(Type.PRIORITY, 0, IDLE, Buffer.alloc(5))], 'nothing'],
  ['WINDOW_UPDATE, RST_STREAM after END_STREAM', [windowUpdate(COMPLETE, 1), rstStream(COMPLETE, 0)], 'nothing'],
  ['anything after our RST_STREAM', [headers(CANCELLED, OK), data(CANCELLED, 'x')], 'nothing'],
  // §6.1: DATA
  ['DATA on stream 0', [data(0, 'x')], goes('PROTOCOL_ERROR')],
  ['empty DATA on stream 0', [data(0, '')], goes('PROTOCOL_ERROR')],
  ['padding longer than its DATA', [frameOf(Type.DATA, PADDED, ANSWERED, '\x02ab')], 'nothing'],
  ['padding as long as its DATA', [frameOf(Type.DATA, PADDED, ANSWERED, '\x03ab')], goes('PROTOCOL_ERROR')],
  ['padded DATA without a length', [frameOf(Type.DATA, PADDED, ANSWERED, '')], goes('FRAME_SIZE_ERROR')],
  // §6.2: HEADERS
  ['HEADERS on stream 0', [headers(0, OK)], goes('PROTOCOL_ERROR')],
  ['padding as long as its HEADERS', [head(WAITING, END_HEADERS | PADDED, Buffer.of(2, 0x88))], goes('PROTOCOL_ERROR')],
  ['padded HEADERS without a length', [head(WAITING, END_HEADERS | PADDED, Buffer.alloc(0))], goes('FRAME_SIZE_ERROR')],
  ['HEADERS without its priority', [head(WAITING, END_HEADERS | PRIORITY, Buffer.alloc(4))], goes('FRAME_SIZE_ERROR')],
  // §6.3: PRIORITY
  ['PRIORITY on stream 0', [frameOf(Type.PRIORITY, 0, 0, Buffer.alloc(5))], goes('PROTOCOL_ERROR')],
  ['PRIORITY of 4 bytes', [frameOf(Type.PRIORITY, 0, WAITING, Buffer.alloc(4))], goes('FRAME_SIZE_ERROR')],
  // §6.4: RST_STREAM
  ['RST_STREAM on stream 0', [rstStream(0, 8)], goes('PROTOCOL_ERROR')],
  ['RST_STREAM of 3 bytes', [frameOf(Type.RST_STREAM, 0, WAITING, 'abc')], goes('FRAME_SIZE_ERROR')],
  ['RST_STREAM of 5 bytes', [frameOf(Type.RST_STREAM, 0, WAITING, 'abcde')], goes('FRAME_SIZE_ERROR')],
  // §6.5: SETTINGS
  ['SETTINGS on a stream', [frameOf(Type.SETTINGS, 0, WAITING)], goes('PROTOCOL_ERROR')],
  ['acknowledgement on a stream', [frameOf(Type.SETTINGS, ACK, WAITING)], goes('PROTOCOL_ERROR')],
  ['acknowledgement with settings', [frameOf(Type.SETTINGS, ACK, 0, Buffer.alloc(6))], goes('FRAME_SIZE_ERROR')],
  ['SETTINGS of 5 bytes', [frameOf(Type.SETTINGS, 0, 0, Buffer.alloc(5))], goes('FRAME_SIZE_ERROR')],
  ['ENABLE_PUSH 1', [settings([ENABLE_PUSH, 1])], goes('PROTOCOL_ERROR')],
  ['ENABLE_PUSH 2', [settings([ENABLE_PUSH, 2])], goes('PROTOCOL_ERROR')],
  ['ENABLE_PUSH 0', [settings([ENABLE_PUSH, 0])], 'nothing'],
  ['INITIAL_WINDOW_SIZE 2^31', [settings([INITIAL_WINDOW_SIZE, 2 ** 31])], goes('FLOW_CONTROL_ERROR')],
  ['MAX_FRAME_SIZE 16 383', [settings([MAX_FRAME_SIZE, 16_383])], goes('PROTOCOL_ERROR')],
  ['MAX_FRAME_SIZE 2^24', [settings([MAX_FRAME_SIZE, 2 ** 24])], goes('PROTOCOL_ERROR')],
  ['an unasked acknowledgement', [frameOf(Type.SETTINGS, ACK, 0)], 'nothing'],
  // §6.6: PUSH_PROMISE, which was switched off
  ['PUSH_PROMISE', [frameOf(Type.PUSH_PROMISE, END_HEADERS, WAITING, uint32(2))], goes('PROTOCOL_ERROR')],
  // §6.7: PING
  ['PING on a stream', [frameOf(Type.PING, 0, WAITING, '12345678')], goes('PROTOCOL_ERROR')],
  ['PING of 7 bytes', [frameOf(Type.PING, 0, 0, '1234567')], goes('FRAME_SIZE_ERROR')],
  ['PING of 9 bytes', [frameOf(Type.PING, ACK, 0, '123456789')], goes('FRAME_SIZE_ERROR')],
  // §6.8: GOAWAY
  ['GOAWAY on a stream', [frameOf(Type.GOAWAY, 0, WAITING, uint32(1, 0))], goes('PROTOCOL_ERROR')],
  ['GOAWAY of 7 bytes', [frameOf(Type.GOAWAY, 0, 0, Buffer.alloc(7))], goes('FRAME_SIZE_ERROR')],
  // §6.9: WINDOW_UPDATE
  ['WINDOW_UPDATE of 0', [windowUpdate(0, 0)], goes('PROTOCOL_ERROR')],
  ['WINDOW_UPDATE of 0 on a stream', [windowUpdate(WAITING, 0)], resetsWith('PROTOCOL_ERROR')],
  ['WINDOW_UPDATE of 3 bytes', [frameOf(Type.WINDOW_UPDATE, 0, 0, 'abc')], goes('FRAME_SIZE_ERROR')],
  ['WINDOW_UPDATE of 5 bytes', [frameOf(Type.WINDOW_UPDATE, 0, WAITING, 'abcde')], goes('FRAME_SIZE_ERROR')],
  ['window of 2^31', [windowUpdate(0, 2 ** 31 - 65_535)], goes('FLOW_CONTROL_ERROR')],
  ['window of 2^31 for a stream', [windowUpdate(WAITING, 2 ** 31 - 65_535)], resetsWith('FLOW_CONTROL_ERROR')],
  [
    'window of 2^31 for a stream by SETTINGS',
    [windowUpdate(WAITING, 1), settings([INITIAL_WINDOW_SIZE, 2 ** 31 - 1])],
    goes('FLOW_CONTROL_ERROR'),
  ],
  ['windows of 2^31 - 1', [windowUpdate(0, 2 ** 31 - 65_536), windowUpdate(WAITING, 2 ** 31 - 65_536)], 'nothing'],
  // §6.10: CONTINUATION
  ['CONTINUATION without HEADERS', [continuation(WAITING, END_HEADERS)], goes('PROTOCOL_ERROR')],
  ['CONTINUATION after the end', [full.ok, continuation(WAITING, END_HEADERS)], goes('PROTOCOL_ERROR')],
  [
    'CONTINUATION of another stream',
    [head(WAITING, 0, block(...OK)), continuation(ANSWERED, END_HEADERS)],
    goes('PROTOCOL_ERROR'),
  ],
  ['CONTINUATION on stream 0', [head(WAITING, 0, block(...OK)), continuation(0, END_HEADERS)], goes('PROTOCOL_ERROR')],
  ['HEADERS within a block', [head(WAITING, 0, block(...OK)), headers(ANSWERED, OK)], goes('PROTOCOL_ERROR')],
  ['DATA within a block', [head(WAITING, 0, block(...OK)), data(ANSWERED, 'x')], goes('PROTOCOL_ERROR')],
  [
    'PING within a block',
    [head(WAITING, 0, block(...OK)), frameOf(Type.PING, 0, 0, '12345678')],
    goes('PROTOCOL_ERROR'),
  ],
  ['an unknown frame within a block', [head(WAITING, 0, block(...OK)), frameOf(0xee, 0, 0)], goes('PROTOCOL_ERROR')],
  // §8.1: order of a response
  ['DATA before the head', [data(WAITING, 'x')], resetsWith('PROTOCOL_ERROR')],
  ['empty DATA before the head', [data(WAITING, '', END_STREAM)], resetsWith('PROTOCOL_ERROR')],
  [
    'DATA after an interim head',
    [headers(WAITING, [':status', '100']), data(WAITING, 'x')],
    resetsWith('PROTOCOL_ERROR'),
  ],
  ['interim head that ends', [headers(WAITING, [':status', '100'], END_STREAM)], resetsWith('PROTOCOL_ERROR')],
  ['status 101', [headers(WAITING, [':status', '101'])], resetsWith('PROTOCOL_ERROR')],
  ['a second head', [headers(ANSWERED, OK)], resetsWith('PROTOCOL_ERROR', ANSWERED)],
  ['trailers that do not end', [headers(ANSWERED, ['a', 'b'])], resetsWith('PROTOCOL_ERROR', ANSWERED)],
  ['trailers with a status', [headers(ANSWERED, OK, END_STREAM)], resetsWith('PROTOCOL_ERROR', ANSWERED)],
  // §8.2: fields
  ...(
    [
      ['no fields', []],
      ['no status', ['a', 'b']],
      ['two statuses', [...OK, ...OK]],
      ['status after a field', ['a', 'b', ...OK]],
      ['status of two digits', [':status', '20']],
      ['status of four digits', [':status', '2000']],
      ['status below 100', [':status', '099']],
      ['status that is no number', [':status', 'abc']],
      ['empty status', [':status', '']],
      ['pseudo-header field of a request', [...OK, ':path', '/']],
      ['unknown pseudo-header field', [...OK, ':x', 'y']],
      ['empty pseudo-header name', [...OK, ':', 'y']],
      ['upper case', [...OK, 'Content-Type', 'x']],
      ['empty name', [...OK, '', 'x']],
      ['space in a name', [...OK, 'a b', 'x']],
      ['colon in a name', [...OK, 'a:b', 'x']],
      ['control character in a name', [...OK, 'a\x7f', 'x']],
      ['NUL in a name', [...OK, 'a\0', 'x']],
      ['byte beyond ASCII in a name', [...OK, '\xe4', 'x']],
      ['NUL in a value', [...OK, 'a', 'x\0y']],
      ['CR in a value', [...OK, 'a', 'x\ry']],
      ['LF in a value', [...OK, 'a', 'x\ny']],
      ['space before a value', [...OK, 'a', ' x']],
      ['space after a value', [...OK, 'a', 'x ']],
      ['tab before a value', [...OK, 'a', '\tx']],
      ['tab after a value', [...OK, 'a', 'x\t']],
      ['connection', [...OK, 'connection', 'close']],
      ['proxy-connection', [...OK, 'proxy-connection', 'close']],
      ['keep-alive', [...OK, 'keep-alive', 'x']],
      ['transfer-encoding', [...OK, 'transfer-encoding', 'chunked']],
      ['upgrade', [...OK, 'upgrade', 'h2c']],
    ] as const
  ).map(([name, fields]): [string, Buffer[], Answer] => [
    `head: ${name}`,
    [headers(WAITING, fields)],
    resetsWith('PROTOCOL_ERROR'),
  ]),
  ['trailers: upper case', [headers(ANSWERED, ['A', 'b'], END_STREAM)], resetsWith('PROTOCOL_ERROR', ANSWERED)],
  [
    'head: two lengths of its content',
    [headers(WAITING, [...OK, 'content-length', '1', 'content-length', '2'])],
    resetsWith('PROTOCOL_ERROR'),
  ],
  [
    'head: two lengths of its content, one of them none',
    [headers(WAITING, [...OK, 'content-length', '1', 'content-length', 'x'])],
    resetsWith('PROTOCOL_ERROR'),
  ],
  ['the same length twice', [headers(WAITING, [...OK, 'content-length', '1', 'content-length', '01'])], 'nothing'],
  ['value of any other byte', [headers(WAITING, [...OK, 'a', '\x01\x7f\x80\xff x\ty', 'b', ''])], 'nothing'],
];

breaches('should each be answered with their code', async () => {
  for (const [name, bytes, answer] of BREACHES) {
    await withPeer(async ({ connection, peer, request, closed, events }) => {
      const [waiting, answered, complete, cancelled] = [hear(), hear(), hear(), hear()];
      request(waiting);
      request(answered);
      request(complete);
      const stream = request(cancelled);
      connection.cancel(stream);
      peer.send(headers(ANSWERED, OK), headers(COMPLETE, OK, END_STREAM));
      await complete.closed();
      await peer.take(Type.RST_STREAM, CANCELLED);

      peer.send(...bytes);
      if (typeof answer === 'object' && 'goaway' in answer) {
        const code = ErrorCode[answer.goaway];
        const error = await closed();
        assert.is(error.code, code, name);
        assert.is(error.from, 'local', name);
        assert.equal((await peer.take(Type.GOAWAY)).payload, uint32(0, code), name);
        assert.is(await answered.closed(), error, name);
        await waiting.closed();
        assert.is(connection.state, 'closed', name);
        await within(5000, peer.closed, 'the socket to close');
        return;
      }
      await peer.settle();
      assert.is(connection.state, 'open', name);
      assert.equal(events, ['open'], name);
      const [reset, ...more] = framesOf(peer.frames, Type.RST_STREAM).slice(1);
      assert.equal(more, [], name);
      if (answer === 'nothing') {
        assert.is(reset, undefined, name);
        assert.is(answered.events.includes('close'), false, name);
        return;
      }
      assert.equal([reset?.streamId, reset?.payload], [answer.stream, uint32(ErrorCode[answer.reset])], name);
      const [hurt, well] = answer.stream === WAITING ? [waiting, answered] : [answered, waiting];
      const error = await hurt.closed();
      assert.equal([error?.code, error?.from, error?.isRefused], [ErrorCode[answer.reset], 'local', false], name);
      // the others go on
      assert.is(well.events.includes('close'), false, name);
      peer.send(well === waiting ? headers(WAITING, OK, END_STREAM) : data(ANSWERED, '', END_STREAM));
      assert.is(await well.closed(), undefined, name);
    });
  }
});

breaches('should end a connection that does not begin with SETTINGS', async () => {
  for (const [name, bytes] of [
    ['HTTP/1.1', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['acknowledgement', frameOf(Type.SETTINGS, ACK, 0)],
    ['PING', frameOf(Type.PING, 0, 0, '12345678')],
    ['HEADERS', headers(1, OK)],
    ['DATA', data(1, 'x')],
    ['GOAWAY', goaway(0, 0)],
    ['WINDOW_UPDATE', windowUpdate(0, 1)],
    ['an unknown frame', frameOf(0xee, 0, 0)],
    ['bad SETTINGS', settings([ENABLE_PUSH, 1])],
  ] as const) {
    const server = await listen();
    const { closed, events, connection } = openWatched(server.path);
    const peer = await server.accept();
    peer.send(bytes);
    const error = await closed();
    const code = name === 'HTTP/1.1' ? ErrorCode.FRAME_SIZE_ERROR : ErrorCode.PROTOCOL_ERROR;
    assert.is(error.code, code, name);
    assert.equal((await peer.take(Type.GOAWAY)).payload, uint32(0, code), name);
    assert.equal(events, ['close'], name);
    assert.is(connection.state, 'closed', name);
    peer.socket.destroy();
    server.close();
  }
});

breaches.run();
