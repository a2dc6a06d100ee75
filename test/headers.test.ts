import * as assert from 'uvu/assert';
import { GatewayError } from '../src/errors.ts';
import { malformed, requestHeaders, responseHeaders, secondsOf } from '../src/headers.ts';
import { suite } from './helpers.ts';

const request = suite('requestHeaders');

request('should keep order, letters and duplicates', () => {
  const raw = ['Host', 'a', 'X-One', '1', 'x-one', '2', 'Cookie', 'k=v'];
  assert.equal(requestHeaders(raw, undefined), { headers: raw, baggage: [] });
});

request('should drop hop-by-hop fields and those that Connection names', () => {
  const raw = [
    'Connection',
    'close, X-Mine',
    'X-Mine',
    '1',
    'Keep-Alive',
    '5',
    'TE',
    'trailers',
    'Upgrade',
    'x',
    'Accept',
    '*/*',
  ];
  assert.equal(requestHeaders(raw, 'close, X-Mine').headers, ['Accept', '*/*']);
});

request('should drop every secret, whatever its letters', () => {
  const secrets = [
    'X-Fc-Access-Key-Id',
    'x-fc-access-key-secret',
    'X-FC-SECURITY-TOKEN',
    'x-fc-tracing-jaeger-endpoint',
    'x-fc-http-params',
  ];
  const raw = secrets.flatMap(name => [name, 'canary']);
  assert.equal(requestHeaders([...raw, 'x-fc-region', 'cn-hangzhou'], undefined).headers, [
    'x-fc-region',
    'cn-hangzhou',
  ]);
});

request('should copy the trace context into the baggage', () => {
  const { headers, baggage } = requestHeaders(['Traceparent', '00-a-b-01', 'Accept', '*/*'], undefined);
  assert.equal(baggage, ['traceparent', '00-a-b-01']);
  assert.equal(headers, ['Traceparent', '00-a-b-01', 'Accept', '*/*']);
});

request('should put our trace in the place of all that came', () => {
  const trace = ['traceparent', 'ours', 'tracestate', 'a=1'];
  const raw = ['TraceParent', '1', 'Accept', '*/*', 'tracestate', '2', 'traceparent', '3', 'baggage', '4', 'X', '5'];
  const { headers, baggage } = requestHeaders(raw, undefined, undefined, false, trace);
  assert.equal(headers, ['Accept', '*/*', 'baggage', '4', 'X', '5', ...trace]);
  assert.equal(baggage, ['baggage', '4', ...trace]);
  assert.equal(requestHeaders([], undefined, undefined, false, trace), { headers: trace, baggage: trace });
});

request.run();

const response = suite('responseHeaders');

response('should keep back what the function’s Connection names', () => {
  const cases: [string[], string[]][] = [
    [
      ['Connection', 'x-name', 'X-Name', '1', 'x-other', '2'],
      ['x-other', '2'],
    ],
    [['X-Name', '1', 'connection', 'close, X-NAME , x-more', 'x-more', '3'], []],
    [
      ['connection', 'x-a', 'Connection', 'x-b', 'x-a', '1', 'x-b', '2', 'x-c', '3'],
      ['x-c', '3'],
    ],
    // it says how much comes, to us as well
    [
      ['connection', 'content-length', 'content-length', '4'],
      ['content-length', '4'],
    ],
  ];
  for (const [given, kept] of cases) assert.equal(responseHeaders(given).headers, kept, given.join());
});

response('should keep one of a field that there may be one of: the last, as setHeader does', () => {
  const given = [
    'Content-Type',
    'a/a',
    'x',
    '1',
    'content-type',
    'b/b',
    'Set-Cookie',
    'a',
    'set-cookie',
    'b',
    'Vary',
    'a',
    'vary',
    'b',
  ];
  const kept = ['x', '1', 'content-type', 'b/b', 'Set-Cookie', 'a', 'set-cookie', 'b', 'Vary', 'a', 'vary', 'b'];
  assert.equal(responseHeaders(given).headers, kept);
  assert.equal(responseHeaders(['ETag', '1', 'Location', '/a', 'etag', '2', 'LOCATION', '/b']).headers, [
    'etag',
    '2',
    'LOCATION',
    '/b',
  ]);
});

const refused = (raw: string[]): string => {
  try {
    responseHeaders(raw);
  } catch (error) {
    assert.instance(error, GatewayError);
    assert.is((error as GatewayError).code, 'BAD_RESPONSE');
    return (error as GatewayError).message;
  }
  throw new Error(`not refused: ${raw}`);
};

response('should keep set-cookie apart and drop what is not the function’s to say', () => {
  const raw = [
    'Set-Cookie',
    'a=1',
    'Set-Cookie',
    'b=2',
    'Connection',
    'close',
    'X-Fc-Status',
    '200',
    'Transfer-Encoding',
    'x',
  ];
  assert.equal(responseHeaders(raw), { headers: ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2'], contentLength: -1 });
});

response('should name the field that is not HTTP', () => {
  assert.match(refused(['x-broken', 'a\r\nx-injected: b']), '"x-broken"');
  assert.match(refused(['x-nul', 'a\0b']), '"x-nul"');
  assert.match(refused(['not a token', 'a']), '"not a token"');
  assert.match(refused(['', 'a']), 'illegal header ""');
});

response('should take 64 KiB of them, and no more', () => {
  const most = 64 * 1024 - 'x: \r\n'.length;
  assert.is(responseHeaders(['x', 'v'.repeat(most)]).headers.length, 2);
  assert.match(refused(['x', 'v'.repeat(most + 1)]), 'expected at most 65536 bytes');
  assert.match(refused(Array<string>(64 * 1024).fill('x')), 'expected at most 65536 bytes');
});

response('should take one content-length, in digits', () => {
  assert.is(responseHeaders(['Content-Length', '12']).contentLength, 12);
  assert.equal(responseHeaders(['content-length', '1', 'Content-Length', '1']).headers, ['content-length', '1']);
  for (const value of ['-1', '1.5', '0x10', '', '1, 1', ' 1'])
    assert.match(refused(['content-length', value]), 'content-length');
  assert.match(refused(['content-length', '1', 'content-length', '2']), 'content-length');
});

response('should pass Latin-1 as it is and write other text as UTF-8', () => {
  const bytes = (value: string): string =>
    Buffer.from(responseHeaders(['x', value]).headers[1] as string, 'latin1').toString('hex');
  assert.is(bytes('é'), 'e9');
  assert.is(bytes('云'), Buffer.from('云').toString('hex'));
});

response.run();

request('should put the authority of an absolute target in the place of Host', () => {
  const raw = ['Host', 'a', 'x', '1', 'HOST', 'b'];
  assert.equal(requestHeaders(raw, undefined, 'c:1').headers, ['Host', 'c:1', 'x', '1']);
});

const timeouts = suite('secondsOf');

timeouts('should take whole seconds that a timer can hold, else the fallback', () => {
  assert.is(secondsOf('300', 3), 300);
  for (const value of [undefined, '', '0', '-1', '1.5', 'x', '0x10', '1e3', '+5', ['1', '2']])
    assert.is(secondsOf(value, 3), 3, String(value));
  assert.is(secondsOf('99999999999', 3), 2_147_483);
});

timeouts.run();

const guard = suite('malformed');

const faultOf = (httpVersion: string, rawHeaders: string[], url = '/', method = 'GET'): string => {
  const fault = malformed({ httpVersion, method, url, rawHeaders }, 65_536);
  return fault === undefined ? '' : `${fault.status} ${fault.message}`;
};

guard('should let through what HTTP allows', () => {
  for (const host of ['a', 'a.b:80', '[::1]:9000', '127.0.0.1', '', 'a:', 'a_b', 'a%2Db', '[v1.x:y]', '[::]'])
    assert.is(faultOf('1.1', ['Host', host]), '', host);
  assert.is(faultOf('1.0', []), '');
  for (const url of ['/', '/a?b', '//a', '/*', 'http://a', 'HTTP://a/b', 'https://a:1?q'])
    assert.is(faultOf('1.1', ['Host', 'a'], url), '', url);
  assert.is(faultOf('1.1', ['Host', 'a'], '*', 'OPTIONS'), '');
  for (const coding of ['chunked', ' Chunked '])
    assert.is(faultOf('1.1', ['Host', 'a', 'Transfer-Encoding', coding]), '', coding);
  for (const expected of ['100-continue', '100-Continue'])
    assert.is(faultOf('1.1', ['Host', 'a', 'Expect', expected]), '', expected);
  // which 1.0 does not know
  assert.is(faultOf('1.0', ['Expect', 'x']), '');
});

guard('should count each line with its colon, space and end', () => {
  // with the target, and 9 bytes of Host
  const lines = Array.from({ length: 13_000 }, () => ['x', '']).flat();
  const rest = 64 * 1024 - 1 - 9 - 13_000 * 5 - 5;
  const head = ['Host', 'a', ...lines, 'y'];
  assert.is(faultOf('1.1', [...head, 'z'.repeat(rest)]), '');
  assert.match(faultOf('1.1', [...head, 'z'.repeat(rest + 1)]), '431 request line and headers: expected at most 65536');
});

guard('should say what is wrong with the rest', () => {
  const host = ['Host', 'a'];
  assert.match(faultOf('2.0', host), '400 HTTP version 2.0');
  assert.match(faultOf('0.9', []), '400 HTTP version 0.9');
  assert.match(faultOf('1.1', []), '400 host: expected one, got none');
  assert.match(faultOf('1.1', [...host, 'host', 'a']), '400 host: expected one, got 2');
  for (const value of [
    'a b',
    'a/b',
    'u@a',
    'a?b',
    'a,b',
    'a:x1',
    'a:1:2',
    '[::1',
    '::1',
    'a%2',
    'ä',
    '[]',
    'a#',
    ':80',
  ])
    assert.match(faultOf('1.1', ['Host', value]), '400 host: expected a name', value);
  for (const url of [
    '*',
    '',
    'a',
    'ftp://a',
    'http:///x',
    'http://u@a/',
    'http://a:x/',
    'http:a',
    'http://:80',
    '/a#b',
    'http://a/#b',
  ])
    assert.match(faultOf('1.1', host, url), '400 target: expected', url);
  assert.match(faultOf('1.0', ['Transfer-Encoding', 'chunked']), '400 transfer-encoding: not allowed in HTTP/1.0');
  for (const value of ['', 'chunked', 'x'])
    assert.match(
      faultOf('1.1', [...host, 'Content-Length', '1', 'Transfer-Encoding', value]),
      '400 transfer-encoding: not allowed beside content-length',
      value,
    );
  for (const value of ['', 'pigeons', 'chunked, gzip', 'chunked, chunked', 'chunked,', 'identity'])
    assert.match(
      faultOf('1.1', [...host, 'Transfer-Encoding', value]),
      '400 transfer-encoding: expected chunked',
      value,
    );
  assert.match(faultOf('1.1', [...host, 'Transfer-Encoding', 'gzip, chunked']), '501 transfer-encoding');
  assert.match(
    faultOf('1.1', [...host, 'Transfer-Encoding', 'gzip', 'Transfer-Encoding', 'chunked']),
    '501 transfer-encoding',
  );
  assert.match(faultOf('1.1', [...host, 'Expect', 'x']), '417 expect: only 100-continue');
});

guard.run();
