// The parts of a request's way one by one, beside protobufjs where that does the same. Prints JSON: ns by name.
import { resolve } from 'node:path';
import { bench, do_not_optimize, run } from 'mitata';
import protobuf from 'protobufjs';
import { createMessageReader } from '../src/grpc/message.ts';
import { createFrameReader, DATA, frame } from '../src/h2/frame.ts';
import { decodeBlock, encodeBlock } from '../src/h2/hpack.ts';
import { requestHeaders } from '../src/headers.ts';
import { createLog } from '../src/log.ts';
import { InvokeRequest } from '../src/noslate/messages.ts';
import { ResponseReader } from '../src/noslate/response.ts';
import { EMPTY_PROFILE } from '../src/profile.ts';
import { createRouter } from '../src/router.ts';

/** What FC sends with a request, in number and length. */
const HEADERS = Array.from({ length: 25 }, (_, i) => [`x-fc-header-${i}`, `value of header ${i}`]).flat();
const BODY = Buffer.alloc(1024, 'x');
const nothing = () => {};

const root = new protobuf.Root();
root.resolvePath = (_origin, target) => resolve('test/planes', target);
root.loadSync('data-plane.proto', { keepCase: true });
const Request = root.lookupType('noslated.data.InvokeRequest');
const Response = root.lookupType('noslated.data.InvokeResponse');

const request = { name: 'hello', url: '/hello?a=b', method: 'POST', deadline: 1.7e12, body: BODY, requestId: '1-2-3' };
const pairs = HEADERS.flatMap((key, i) => (i % 2 === 0 ? [{ key, value: HEADERS[i + 1] }] : []));
bench('InvokeRequest, 25 headers and 1 KiB: encode', () =>
  do_not_optimize(InvokeRequest.encode({ ...request, headers: HEADERS })),
);
bench('InvokeRequest, 25 headers and 1 KiB: encode, protobufjs', () =>
  do_not_optimize(Request.encode({ ...request, headers: pairs }).finish()),
);
const head = Buffer.from(Response.encode({ result: { status: 200, headers: pairs.slice(0, 5), body: BODY } }).finish());
const listener = { onHead: do_not_optimize, onBody: do_not_optimize, onError: nothing };
bench('InvokeResponse, 5 headers and 1 KiB: decode', () => {
  const reader = new ResponseReader(listener, nothing);
  reader.onMessage(head.length);
  reader.onPiece(head);
  reader.onMessageEnd();
});
bench('InvokeResponse, 5 headers and 1 KiB: decode, protobufjs', () => do_not_optimize(Response.decode(head)));

const block = encodeBlock([':status', '200', 'content-type', 'application/grpc', 'grpc-status', '0']);
bench('header block, 3 fields: decode', () => do_not_optimize(decodeBlock(block, 65_536)));
const readFrames = createFrameReader({
  onFrame: nothing,
  onDataFrame: nothing,
  onDataPiece: piece => do_not_optimize(piece),
  onDataEnd: nothing,
});
const frames = Buffer.concat(Array.from({ length: 16 }, () => frame(DATA, 0, 1, BODY)));
bench('16 DATA frames of 1 KiB: cut', () => readFrames(frames));
const messages = createMessageReader({
  onMessage: nothing,
  onPiece: piece => do_not_optimize(piece),
  onMessageEnd: nothing,
});
const message = Buffer.concat([Buffer.of(0, 0, 0, 4, 0), BODY]);
bench('gRPC message of 1 KiB: cut', () => messages.read(message));

bench("25 headers of a request: sort out FC's secrets", () => do_not_optimize(requestHeaders(HEADERS, 'keep-alive')));
for (const count of [1, 100, 10_000]) {
  const routes = Array.from({ length: count }, (_, i) => ({ path: `/path/${i}`, function: 'f' }));
  const router = createRouter({ ...EMPTY_PROFILE, routes }, false);
  // what a router looks at
  const exchange = { req: { method: 'GET', headers: {} }, url: `/path/${count - 1}`, kind: 'http' };
  bench(`the last of ${count} routes: find`, () => do_not_optimize(router(exchange)));
}
const log = createLog('json', text => do_not_optimize(text));
bench('access line: write', () =>
  log.access({
    requestId: '1-6b045108-df89fa3c-e7ea686e6b2c',
    kind: 'http',
    method: 'GET',
    path: '/hello',
    function: 'hello',
    status: 200,
    bytesIn: 0,
    bytesOut: 16,
    firstByteMs: 0.4,
    totalMs: 0.5,
    outcome: 'ok',
  }),
);

const { benchmarks } = await run({ format: 'quiet', throw: true });
const figures = benchmarks.flatMap(({ alias, runs }) => runs.map(({ stats }) => [alias, stats?.p50]));
console.log(JSON.stringify(Object.fromEntries(figures)));
