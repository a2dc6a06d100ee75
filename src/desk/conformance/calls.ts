import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { FIXED_CREDENTIALS } from '../fc/headers.ts';
import { collect } from '../fc/limits.ts';
import {
  type Check,
  echo,
  expect,
  expectThat,
  happening,
  http,
  invoke,
  pause,
  see,
  seenHeader,
  WAIT_MS,
  whole,
  wishPath,
  within,
} from './check.ts';

const MIB = 1024 * 1024;
const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

function* pieces(body: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < body.length; at += size) yield body.subarray(at, at + size);
}

/** Events: FC makes a POST of each. */
const EVENTS: readonly Check[] = [
  {
    id: 'event.body',
    title: "answers an event with the function's body",
    contract: 'An event is POST /invoke with the raw bytes; the caller gets the body of the answer.',
    source: '§2, §4.1 [S9b S17]',
    level: 'must',
    async run({ shared }) {
      expect('the body', (await invoke(shared, Buffer.from('{"amount":20}'))).text, '{"amount":20}');
    },
  },
  {
    id: 'event.binary',
    title: 'takes every byte as it is',
    contract: 'The body of /invoke is the raw event.',
    source: '§2 [S9b S19]',
    level: 'must',
    async run({ shared }) {
      const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      expect('the bytes', (await invoke(shared, all)).bytes.toString('hex'), all.toString('hex'));
    },
  },
  {
    id: 'event.untouched',
    title: 'parses nothing that it passes on',
    contract: 'The body of /invoke is the raw event, whatever it looks like.',
    source: '§2 [S9b]',
    level: 'must',
    async run({ shared }) {
      const text = '{ "a" : 1.0,\r\n "a":2 }  ';
      expect('the body', (await invoke(shared, Buffer.from(text))).text, text);
    },
  },
  {
    id: 'event.empty',
    title: 'takes an event without a payload',
    contract: 'An event may be empty: Content-Length is 0.',
    source: '§2 [S9b]',
    level: 'must',
    async run({ shared }) {
      const { status, errorType, text } = await invoke(shared, Buffer.alloc(0));
      expect('status, error type and body', [status, errorType, text], [200, undefined, '']);
    },
  },
  {
    id: 'event.largest',
    alone: true,
    title: 'takes an event of 32 MB, and answers with as much',
    contract: 'A synchronous call may have 32 MB of body.',
    source: '§6 [S9b S44]',
    level: 'must',
    async run({ shared }) {
      const payload = randomBytes(32 * MIB);
      const { bytes, errorType } = await invoke(shared, payload);
      expect('bytes and error type', [bytes.length, errorType], [payload.length, undefined]);
      expect('the digest', sha(bytes), sha(payload));
    },
  },
  {
    id: 'event.content-type',
    title: 'takes application/octet-stream',
    contract: 'FC sends an event as application/octet-stream.',
    source: '§2 [S9b S17 S19]',
    level: 'must',
    async run({ shared }) {
      const seen = JSON.parse((await invoke(shared, { seen: true })).text);
      expect('content-type', seenHeader(seen, 'content-type'), 'application/octet-stream');
    },
  },
  {
    id: 'event.failure',
    title: 'reports a failed event by x-fc-status',
    contract: 'FC counts an event as failed when the answer has x-fc-status: 404.',
    source: '§4.1 [S9b S38]',
    level: 'must',
    async run({ shared }) {
      expect('X-Fc-Error-Type', (await invoke(shared, { throw: 'on purpose' })).errorType, 'UnhandledInvocationError');
    },
  },
  {
    id: 'event.failure-status',
    title: "counts the function's own error status as a failure",
    contract: 'The caller never sees the status of an event; only x-fc-status tells FC of it.',
    source: '§4.1 [S9b]',
    level: 'should',
    async run({ shared }) {
      const { errorType, text } = await invoke(shared, { status: 422, body: 'not like this' });
      expect('error type and body', [errorType, text], ['UnhandledInvocationError', 'not like this']);
    },
  },
  {
    id: 'event.failure-words',
    title: 'says in JSON why an event failed',
    contract: 'Error bodies are {"errorMessage", "errorType", …}, which FC and its SDKs read.',
    source: '§4.1 [S41]',
    level: 'should',
    async run({ shared }) {
      const { text } = await invoke(shared, { throw: 'on purpose' });
      expectThat('a body with errorMessage', typeof parse(text)?.['errorMessage'] === 'string', text);
    },
  },
  {
    id: 'event.success',
    title: 'does not mark what succeeded',
    contract: 'x-fc-status other than 2xx makes FC count a failure.',
    source: '§4.1 [S9b]',
    level: 'must',
    async run({ shared }) {
      for (const status of [200, 201]) {
        expect('X-Fc-Error-Type', (await invoke(shared, { status, body: 'made' })).errorType, undefined);
      }
    },
  },
  {
    id: 'event.parallel',
    title: 'answers each of many events with its own',
    contract: 'Up to the instance concurrency, requests run in one instance at a time.',
    source: '§7 [S6 S22]',
    level: 'must',
    async run({ shared }) {
      const ids = Array.from({ length: 50 }, (_, i) => `event ${i}`);
      const answers = await Promise.all(ids.map(body => invoke(shared, { body, sleep: 50 })));
      expect(
        'the bodies',
        answers.map(({ text }) => text),
        ids,
      );
    },
  },
  {
    id: 'event.timeout',
    title: 'goes on after an event that FC gave up',
    contract: 'At the timeout FC gives up the call; the instance may get the next.',
    source: '§4.1 [S40]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ timeout: 6 });
      // it is FC that gives up, or the server, just before
      expect('error type', (await invoke(fc, { sleep: 18_000 })).errorType, 'UnhandledInvocationError');
      expect('the next', (await invoke(fc, { body: 'next' })).text, 'next');
    },
  },
  {
    id: 'event.crash',
    title: 'is there again after a crash',
    contract: 'A crash fails the call that made it; the next finds an instance.',
    source: '§1.1 [S6 S13]',
    level: 'must',
    async run({ platform }) {
      const fc = platform();
      expect('error type', (await invoke(fc, { exit: 1 })).errorType, 'UnhandledInvocationError');
      expect('the next', (await invoke(fc, { body: 'next' })).text, 'next');
    },
  },
  {
    id: 'event.no-control-path',
    title: 'knows an event without a control path',
    contract: "FC's own local tools call POST /invoke without x-fc-control-path.",
    source: '§3, §10 [S20 S32]',
    level: 'should',
    async run({ shared }) {
      const instance = await shared.acquire('none');
      try {
        const exchange = instance.connections.exchange({
          method: 'POST',
          path: '/invoke',
          headers: [
            ['Host', 'localhost'],
            ['Content-Type', 'application/octet-stream'],
            ['Content-Length', '5'],
          ],
          body: Readable.from([Buffer.from('local')]),
          signal: new AbortController().signal,
        });
        const response = await within(WAIT_MS, exchange, 'a head');
        const body = await within(WAIT_MS, collect(response, 5), 'a body');
        expect('status and body', [response.statusCode, body.toString()], [200, 'local']);
      } finally {
        shared.release(instance, 'none');
      }
    },
  },
];

/** HTTP triggers: FC passes requests and answers on. */
const TRIGGERS: readonly Check[] = [
  {
    id: 'http.status',
    title: "passes the function's status on",
    contract: 'Of an HTTP trigger, status, headers and body reach the client as they are.',
    source: '§4.1 [S9b S26]',
    level: 'must',
    async run({ shared }) {
      for (const status of [200, 201, 202, 301, 400, 401, 404, 418, 429, 500, 503]) {
        expect('the status', (await http(shared, { status, body: 'x' })).status, status);
      }
    },
  },
  {
    id: 'http.headers',
    title: "passes the function's headers on",
    contract: 'Headers of the answer reach the client, but for reserved ones.',
    source: '§4.1, §4.2 [S9b S26]',
    level: 'must',
    async run({ shared }) {
      const { headers } = await http(shared, { headers: { 'X-Custom': 'one, two', 'content-type': 'text/x-own' } });
      const found = Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value]));
      expect('the headers', [found['x-custom'], found['content-type']], ['one, two', 'text/x-own']);
    },
  },
  {
    id: 'http.set-cookie',
    title: 'keeps cookies apart',
    contract: 'Set-Cookie cannot be joined: each is a header of its own.',
    source: '§4.1; RFC 9110 §5.3',
    level: 'must',
    async run({ shared }) {
      const { headers } = await http(shared, { headers: { 'set-cookie': ['a=1; Path=/', 'b=2'] } });
      const cookies = headers.filter(([name]) => name.toLowerCase() === 'set-cookie').map(([, value]) => value);
      expect('the cookies', cookies, ['a=1; Path=/', 'b=2']);
    },
  },
  {
    id: 'http.methods',
    title: 'lets every method through',
    contract: 'An HTTP trigger may allow GET, POST, PUT, DELETE, HEAD, PATCH and OPTIONS.',
    source: '§2 [S26]',
    level: 'must',
    async run({ shared }) {
      for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
        expect('the method', (await see(shared, { method })).method, method);
      }
    },
  },
  {
    id: 'http.path',
    title: 'leaves path and query as they are',
    contract: "On fcapp.run and custom domains the server sees the client's path unchanged.",
    source: '§2 [S27 S28]',
    level: 'must',
    async run({ shared }) {
      for (const path of ['/a/b/', '/a%2Fb', '/%E4%BD%A0', '//double', '/a/../b', '/sp%20ace+plus', '/semi;colon=1']) {
        const { url } = await see(shared, { path });
        expect('the path', url.split('?')[0], path);
      }
    },
  },
  {
    id: 'http.query',
    title: 'leaves the query as it is',
    contract: "The server sees the client's query unchanged.",
    source: '§2 [S27]',
    level: 'must',
    async run({ shared }) {
      const path = `${wishPath({ seen: true })}&a=1&a=2&b=%2B+&c`;
      const { url } = JSON.parse((await whole(shared.http({ method: 'GET', path }))).text);
      expect('the query', url, path);
    },
  },
  {
    id: 'http.reserved-paths',
    title: "gives the hooks' paths to the function when a client asks for them",
    contract: 'Only x-fc-control-path tells a hook from a client that asks for its path; clients cannot set it.',
    source: '§2 [S9b S17]',
    level: 'must',
    async run({ shared }) {
      for (const [method, path] of [
        ['POST', '/initialize'],
        ['GET', '/pre-freeze'],
        ['GET', '/pre-stop'],
        ['POST', '/invoke'],
      ] as const) {
        const seen = await http(shared, { seen: true }, { method, path }).then(({ text }) => parse(text));
        expect(`${method} ${path}`, [seen?.['method'], String(seen?.['url']).split('?')[0]], [method, path]);
      }
    },
  },
  {
    id: 'http.body',
    title: 'takes a body with Content-Length',
    contract: "The client's body goes on to the function.",
    source: '§2 [S9b]',
    level: 'must',
    async run({ shared }) {
      const body = randomBytes(100_000);
      const { bytes } = await echo(shared, Readable.from([body]), [['Content-Length', String(body.length)]]);
      expect('the digest', sha(bytes), sha(body));
    },
  },
  {
    id: 'http.body-chunked',
    title: 'takes a body in chunks',
    contract: 'A body without Content-Length comes with Transfer-Encoding: chunked.',
    source: '§2 [S9b]; RFC 9112 §7.1',
    level: 'must',
    async run({ shared }) {
      const body = randomBytes(100_000);
      expect('the digest', sha((await echo(shared, Readable.from(pieces(body, 999)))).bytes), sha(body));
    },
  },
  {
    id: 'http.body-json',
    title: 'does not parse a JSON body away',
    contract: "The client's body reaches the function as it is, whatever its type.",
    source: '§2 [S9b]',
    level: 'must',
    async run({ shared }) {
      const text = '{ "a" : [1, 2] }';
      const { text: back } = await echo(shared, Readable.from([text]), [['Content-Type', 'application/json']]);
      expect('the body', back, text);
    },
  },
  {
    id: 'http.body-form',
    title: 'does not parse a form away',
    contract: "The client's body reaches the function as it is, whatever its type.",
    source: '§2 [S9b]',
    level: 'must',
    async run({ shared }) {
      const type: [string, string] = ['Content-Type', 'application/x-www-form-urlencoded'];
      expect('the body', (await echo(shared, Readable.from(['a=1&b=%20+']), [type])).text, 'a=1&b=%20+');
    },
  },
  {
    id: 'http.largest',
    alone: true,
    title: 'takes 32 MB of body',
    contract: 'A synchronous call may have 32 MB of body.',
    source: '§6 [S9b S44]',
    level: 'must',
    async run({ shared }) {
      const body = randomBytes(32 * MIB);
      const { bytes } = await echo(shared, Readable.from(pieces(body, 65_536)));
      expect('length and digest', [bytes.length, sha(bytes)], [body.length, sha(body)]);
    },
  },
  {
    id: 'http.head',
    title: 'answers HEAD with the head alone',
    contract: 'HEAD is one of the methods; its answer has no body.',
    source: '§2 [S26]; RFC 9110 §9.3.2',
    level: 'must',
    async run({ shared }) {
      const { status, text, headers } = await http(shared, { headers: { 'x-a': '1' }, body: 'x' }, { method: 'HEAD' });
      const custom = headers.some(([name]) => name.toLowerCase() === 'x-a');
      expect('status, body and header', [status, text, custom], [200, '', true]);
      expect('the next', (await http(shared, { body: 'next' })).text, 'next');
    },
  },
  {
    id: 'http.no-body',
    title: 'sends no body with 204 and 304',
    contract: 'The status passes on; an answer that may have no body has none.',
    source: '§4.1 [S9b]; RFC 9110 §15.3.5, §15.4.5',
    level: 'must',
    async run({ shared }) {
      for (const status of [204, 304]) {
        const answer = await http(shared, { status });
        expect('status and body', [answer.status, answer.text], [status, '']);
        expect('the next', (await http(shared, { body: 'next' })).text, 'next');
      }
    },
  },
  {
    id: 'http.host',
    title: "leaves the client's Host",
    contract: 'Host is the public name that the client used.',
    source: '§2 [S27]',
    level: 'must',
    async run({ shared }) {
      const seen = await see(shared, { headers: [['Host', 'www.example.com']] });
      expect('host', seenHeader(seen, 'host'), 'www.example.com');
    },
  },
  {
    id: 'http.parallel',
    title: 'answers each of many clients with its own',
    contract: 'Up to the instance concurrency, requests run in one instance at a time.',
    source: '§7 [S6 S22]',
    level: 'must',
    async run({ shared }) {
      const ids = Array.from({ length: 50 }, (_, i) => `client ${i}`);
      const answers = await Promise.all(ids.map(body => http(shared, { body, sleep: 50 })));
      expect(
        'the bodies',
        answers.map(({ text }) => text),
        ids,
      );
    },
  },
  {
    id: 'http.failure',
    title: 'answers with an error status when the function throws',
    contract: 'Nothing wraps the failure of an HTTP trigger: the client sees its status.',
    source: '§4.1 [S9b S26]',
    level: 'must',
    async run({ shared }) {
      const { status, text } = await http(shared, { throw: 'on purpose' });
      expectThat('a status of 500 or more', status >= 500, status);
      expectThat('no stack for strangers', !/\bat .+:\d+:\d+/.test(text), text);
    },
  },
];

/** What FC adds to a request. */
const HEADERS: readonly Check[] = [
  {
    id: 'headers.duplicate',
    title: 'keeps both of two headers of one name',
    contract: "The client's headers pass.",
    source: '§2 [S27]; RFC 9110 §5.3',
    level: 'must',
    async run({ shared }) {
      const headers = [
        ['X-List', 'one'],
        ['X-List', 'two'],
      ] as const;
      expect('x-list', seenHeader(await see(shared, { headers }), 'x-list'), 'one, two');
    },
  },
  {
    id: 'headers.large',
    title: 'takes as many headers as FC lets through',
    contract: "A client's headers may have 8 KB, and FC adds its own, tokens included.",
    source: '§6, §1 [S9b S26]',
    level: 'must',
    async run({ shared }) {
      const value = 'v'.repeat(7900);
      expect('the length', seenHeader(await see(shared, { headers: [['X-Large', value]] }), 'x-large')?.length, 7900);
    },
  },
  {
    id: 'headers.lower-case',
    title: "knows FC's headers in lower case",
    contract: 'The case of x-fc-* headers is not guaranteed.',
    source: '§3 [S17]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ switches: { headerCase: 'lower' } });
      expect('an event', (await invoke(fc, { throw: 'x' })).errorType, 'UnhandledInvocationError');
      expect(
        'a request for /pre-stop',
        parse((await http(fc, { seen: true }, { path: '/pre-stop' })).text)?.['method'],
        'GET',
      );
    },
  },
  {
    id: 'headers.empty',
    title: "takes FC's headers when they are empty",
    contract: 'Without a role, credentials come as empty strings; so do tracing and version.',
    source: '§3 [S27]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ role: false, switches: { tracing: 'empty' } });
      expect('an event', (await invoke(fc, { body: 'ok' })).text, 'ok');
      expect('a request', (await http(fc, { body: 'ok' })).text, 'ok');
    },
  },
  {
    id: 'headers.tracing',
    title: 'takes tracing headers',
    contract: 'With tracing on, FC sends span context, baggage and the collector.',
    source: '§3 [S27 S31]',
    level: 'should',
    async run({ platform }) {
      expect('a request', (await http(platform({ switches: { tracing: 'on' } }), { body: 'ok' })).text, 'ok');
    },
  },
  {
    id: 'headers.rotating',
    title: 'takes credentials that change from call to call',
    contract: 'The credentials in headers are temporary.',
    source: '§3 [S17]',
    level: 'should',
    async run({ platform }) {
      const fc = platform({ switches: { credentials: 'rotating' } });
      for (const body of ['one', 'two']) expect('an event', (await invoke(fc, { body })).text, body);
    },
  },
  {
    id: 'headers.request-id',
    title: 'tells the function the request id',
    contract: 'x-fc-request-id comes with every call.',
    source: '§3 [S17 S24 S27]',
    level: 'must',
    async run({ shared }) {
      const answer = await http(shared, { seen: true });
      expect('x-fc-request-id', seenHeader(JSON.parse(answer.text), 'x-fc-request-id'), answer.requestId);
    },
  },
  {
    id: 'headers.request-id-forms',
    title: 'takes every form of request id',
    contract: 'A request id is a UUID, 1-8-8-12 or 1-8-24 in hex, by generation and age.',
    source: '§3 [S17 S24 S27]',
    level: 'must',
    async run({ platform }) {
      for (const form of ['uuid', '8-8-12', '8-24'] as const) {
        const answer = await http(platform({ switches: { requestId: form } }), { seen: true });
        expect(form, seenHeader(JSON.parse(answer.text), 'x-fc-request-id'), answer.requestId);
      }
    },
  },
  {
    id: 'headers.function',
    title: 'tells the function what FC says of it',
    contract: 'Name, memory, timeout, region, account and qualifier come with every call.',
    source: '§3 [S17 S27]',
    level: 'should',
    async run({ shared }) {
      const seen = await see(shared);
      const { name, memory, timeout, region, accountId } = shared.settings;
      const names = ['function-name', 'function-memory', 'function-timeout', 'region', 'account-id', 'qualifier'];
      expect(
        'the headers',
        names.map(header => seenHeader(seen, `x-fc-${header}`)),
        [name, String(memory), String(timeout), region, accountId, 'LATEST'],
      );
    },
  },
  {
    id: 'secrets.function',
    title: 'keeps credentials from functions that did not ask for them',
    contract: 'FC warns not to disclose the credentials; a context for functions holds none.',
    source: '§9 [S48]',
    level: 'should',
    async run({ shared }) {
      const seen = await see(shared);
      const names = ['x-fc-access-key-id', 'x-fc-access-key-secret', 'x-fc-security-token'];
      expect(
        'credentials',
        names.filter(name => seenHeader(seen, name) !== undefined),
        [],
      );
    },
  },
  {
    id: 'secrets.log',
    title: 'prints no credential',
    contract: 'Credentials come with every request, and stdout goes to the log service.',
    source: '§9 [S48]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ initializer: { timeout: 10 }, switches: { tracing: 'on' } });
      await invoke(fc, { body: 'ok' });
      await invoke(fc, { throw: 'x' });
      await http(fc, { throw: 'x' });
      await http(fc, { exit: 1 });
      const secrets = [...FIXED_CREDENTIALS, 'adapt_canary-token'];
      await fc.stop();
      const printed = fc.life.events.filter(({ event }) => event === 'log').map(({ line }) => String(line));
      for (const secret of secrets)
        expect(
          'lines with a credential',
          printed.filter(line => line.includes(secret)),
          [],
        );
    },
  },
  {
    id: 'secrets.errors',
    title: 'tells no credential in an error',
    contract: 'Anybody may call an anonymous trigger, and sees its errors.',
    source: '§9 [S48]',
    level: 'must',
    async run({ shared }) {
      const answers = [await http(shared, { throw: 'x' }), await invoke(shared, { throw: 'x' })];
      for (const { text, headers } of answers) {
        const all = text + headers.join();
        expect(
          'credentials in the answer',
          FIXED_CREDENTIALS.filter(secret => all.includes(secret)),
          [],
        );
      }
    },
  },
];

/** Clients that leave. */
const CANCELS: readonly Check[] = [
  {
    id: 'cancel.before-head',
    title: 'goes on after a client that left before the head',
    contract: 'When a client leaves, the connection may end; the instance goes on.',
    source: '§7 [S54]',
    level: 'must',
    async run({ platform }) {
      await leave(platform({ instanceConcurrency: 5 }), { sleep: 5000 });
    },
  },
  {
    id: 'cancel.in-body',
    title: 'goes on after a client that left in the middle of the answer',
    contract: 'When a client leaves, the connection may end; the instance goes on.',
    source: '§7 [S54]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ instanceConcurrency: 5 });
      const controller = new AbortController();
      const path = wishPath({ chunks: { count: 100_000, size: 65_536 } });
      const { body } = await fc.http({ method: 'GET', path, signal: controller.signal });
      body.on('error', () => {});
      await within(WAIT_MS, once(body, 'data'), 'the first bytes');
      controller.abort();
      expect('the next', (await http(fc, { body: 'next' })).text, 'next');
    },
  },
  {
    id: 'cancel.in-upload',
    title: 'goes on after a client that left in the middle of its request',
    contract: 'When a client leaves, the connection may end; the instance goes on.',
    source: '§7 [S54]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ instanceConcurrency: 5 });
      const controller = new AbortController();
      const body = new Readable({ read() {} });
      body.push(Buffer.alloc(100_000));
      const gone = fc.http({ method: 'POST', path: '/', body, signal: controller.signal }).then(
        answer => answer.body.on('error', () => {}).resume(),
        () => {},
      );
      await happening(fc, 'request');
      await pause(200);
      controller.abort();
      await gone;
      expect('the next', (await http(fc, { body: 'next' })).text, 'next');
    },
  },
];

/** Leaves a call before its answer, and makes another. */
async function leave(fc: Parameters<typeof http>[0], wish: { sleep: number }): Promise<void> {
  const controller = new AbortController();
  const gone = fc.http({ method: 'GET', path: wishPath(wish), signal: controller.signal }).catch(() => {});
  await happening(fc, 'request');
  await pause(200);
  controller.abort();
  await gone;
  expect('the next', (await http(fc, { body: 'next' })).text, 'next');
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** Calls, one at a time and side by side. */
export const CALLS: readonly Check[] = [...EVENTS, ...TRIGGERS, ...HEADERS, ...CANCELS];
