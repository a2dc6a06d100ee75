import * as assert from 'uvu/assert';
import { get, raw, type Server, suite, within, withServer } from './helpers.ts';
import { parseAnswers } from './http-answers.ts';

/** Tells what it was asked, by whom, and how much came with it. */
const TELL = `
  exports.handler = async (ctx, req, res) => {
    let bytes = 0;
    if (req.url === '/early') return res.end('early');
    for await (const chunk of req) bytes += chunk.length;
    const hosts = req.rawHeaders.filter((value, i) => i % 2 === 1 && /^host$/i.test(req.rawHeaders[i - 1]));
    res.writeHead(200, { 'x-told': [req.method, req.url, hosts.join('+'), bytes].join(' ') });
    res.end('told');
  };`;

/** One connection's bytes, and what they are answered with. */
interface Case {
  readonly what: string;
  /** What is sent; the second part when `answered` answers are there. */
  readonly sent: string | readonly [string, string];
  /** By answer: `STATUS`, and behind it what the function was told, if it was asked. */
  readonly answers: readonly string[];
  /** How many of them come before the second part; all but one, where it is not said. */
  readonly answered?: number;
  /** Whether the connection ends with the last answer. */
  readonly ends: boolean;
}

const POST = 'POST / HTTP/1.1\r\nhost: a\r\n';
const CHUNKED = `${POST}transfer-encoding: chunked\r\n\r\n`;
const GET = get('/');
const TOLD = '200 GET / test 0';

/** What a request's end, and the next one's beginning, are told by. @see RFC 9112 §6, §7, §9 */
const FRAMING: readonly Case[] = [
  { what: 'no body', sent: GET, answers: [TOLD], ends: false },
  { what: 'a body by length', sent: `${POST}content-length: 3\r\n\r\nabc`, answers: ['200 POST / a 3'], ends: false },
  {
    what: 'a body in chunks',
    sent: `${CHUNKED}1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n`,
    answers: ['200 POST / a 3'],
    ends: false,
  },
  {
    what: 'trailers',
    sent: `${CHUNKED}1\r\na\r\n0\r\nx-a: 1\r\nhost: b\r\n\r\n`,
    answers: ['200 POST / a 1'],
    ends: false,
  },
  { what: 'empty lines before a request', sent: `\r\n\r\n${GET}`, answers: [TOLD], ends: false },
  {
    what: 'GET with a body',
    sent: `GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx${GET}`,
    answers: ['200 GET / a 1', TOLD],
    ends: false,
  },
  { what: 'one request behind another', sent: GET + GET, answers: [TOLD, TOLD], ends: false },
  {
    what: 'a body of which too much is sent',
    sent: `${POST}content-length: 2\r\n\r\nabc`,
    answers: ['200 POST / a 2', '400'],
    ends: true,
  },
  { what: 'junk behind a request', sent: `${GET}\x01\x02`, answers: [TOLD, '400'], ends: true },
  { what: 'junk behind two requests', sent: `${GET}${GET}\x01\x02`, answers: [TOLD, TOLD, '400'], ends: true },
  { what: 'junk after an answer', sent: [GET, '\x01\x02'], answers: [TOLD, '400'], ends: true },
  { what: 'a request behind close', sent: get('/', 'connection: close\r\n') + GET, answers: [TOLD], ends: true },
  { what: 'a space behind close', sent: `${get('/', 'connection: close\r\n')} `, answers: [TOLD], ends: true },
  { what: 'junk behind close', sent: `${get('/', 'connection: close\r\n')}\x01\x02`, answers: [TOLD], ends: true },
  { what: 'close in a list', sent: get('/', 'connection: x, Close\r\n') + GET, answers: [TOLD], ends: true },
  { what: 'a chunk size that is none', sent: `${CHUNKED}x\r\na\r\n0\r\n\r\n`, answers: ['400'], ends: true },
  { what: 'a negative chunk size', sent: `${CHUNKED}-1\r\na\r\n0\r\n\r\n`, answers: ['400'], ends: true },
  { what: 'a chunk size above all numbers', sent: `${CHUNKED}fffffffffffffffff\r\na`, answers: ['400'], ends: true },
  {
    what: 'a broken chunk size in the second read',
    sent: [`${CHUNKED}1\r\na\r\n`, 'x\r\n'],
    answers: ['400'],
    ends: true,
  },
  {
    what: 'a broken chunk behind the answer',
    sent: [`${CHUNKED.replace('POST /', 'POST /early')}1\r\na\r\n`, 'x\r\n'],
    answered: 1,
    answers: ['200'],
    ends: true,
  },
  { what: 'a broken chunk behind a request', sent: `${GET}${CHUNKED}x\r\n`, answers: [TOLD, '400'], ends: true },
  {
    what: 'a coding that nobody knows',
    sent: `${POST}transfer-encoding: pigeons\r\n\r\nabc`,
    answers: ['400'],
    ends: true,
  },
  {
    what: 'chunked not last',
    sent: `${POST}transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n`,
    answers: ['400'],
    ends: true,
  },
  {
    what: 'gzip within chunked',
    sent: `${POST}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
    answers: ['501'],
    ends: true,
  },
  {
    what: 'two lengths that differ',
    sent: `${POST}content-length: 1\r\ncontent-length: 2\r\n\r\nab`,
    answers: ['400'],
    ends: true,
  },
  { what: 'a list of lengths', sent: `${POST}content-length: 1, 1\r\n\r\na`, answers: ['400'], ends: true },
  { what: 'a length with a sign', sent: `${POST}content-length: +1\r\n\r\na`, answers: ['400'], ends: true },
  {
    what: 'a length and a coding',
    sent: `${POST}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    answers: ['400'],
    ends: true,
  },
  {
    what: 'a length and an empty coding',
    sent: `${POST}content-length: 1\r\ntransfer-encoding:\r\n\r\na`,
    answers: ['400'],
    ends: true,
  },
  {
    what: 'an empty coding and a length',
    sent: `${POST}transfer-encoding:\r\ncontent-length: 1\r\n\r\na`,
    answers: ['400'],
    ends: true,
  },
  {
    what: 'a second coding line',
    sent: `${POST}transfer-encoding: chunked\r\ntransfer-encoding: pigeons\r\n\r\n0\r\n\r\n`,
    answers: ['400'],
    ends: true,
  },
];

/** Who is asked for what. @see RFC 9112 §2.3, §3; RFC 9110 §7.2, §9.3.6 */
const TARGETS: readonly Case[] = [
  {
    what: 'absolute form',
    sent: 'GET http://b.test:81/x?y HTTP/1.1\r\nhost: a\r\n\r\n',
    answers: ['200 GET /x?y b.test:81 0'],
    ends: false,
  },
  {
    what: 'absolute form without a path',
    sent: 'GET http://b.test HTTP/1.1\r\nhost: a\r\n\r\n',
    answers: ['200 GET / b.test 0'],
    ends: false,
  },
  { what: 'absolute form without Host', sent: 'GET http://b.test/ HTTP/1.1\r\n\r\n', answers: ['400'], ends: true },
  {
    what: 'absolute form, another host by its letters',
    sent: 'GET http://ROUTED.test/x HTTP/1.1\r\nhost: a\r\n\r\n',
    answers: ['200 GET /x ROUTED.test 0'],
    ends: false,
  },
  {
    what: 'absolute form with a user',
    sent: 'GET http://u@b/ HTTP/1.1\r\nhost: b\r\n\r\n',
    answers: ['400'],
    ends: true,
  },
  {
    what: 'absolute form with an address',
    sent: 'GET http://[::1]:81/x HTTP/1.1\r\nhost: a\r\n\r\n',
    answers: ['200 GET /x [::1]:81 0'],
    ends: false,
  },
  {
    what: 'absolute form with a port alone',
    sent: 'GET http://:80/ HTTP/1.1\r\nhost: a\r\n\r\n',
    answers: ['400'],
    ends: true,
  },
  { what: 'a fragment', sent: get('/a#b'), answers: ['400'], ends: true },
  { what: 'a fragment in absolute form', sent: get('http://b/a#b'), answers: ['400'], ends: true },
  { what: 'an empty Host', sent: 'GET / HTTP/1.1\r\nhost:\r\n\r\n', answers: ['200 GET /  0'], ends: false },
  { what: 'a Host of a port alone', sent: 'GET / HTTP/1.1\r\nhost: :80\r\n\r\n', answers: ['400'], ends: true },
  { what: 'another scheme', sent: 'GET ftp://b/ HTTP/1.1\r\nhost: b\r\n\r\n', answers: ['400'], ends: true },
  { what: 'GET *', sent: 'GET * HTTP/1.1\r\nhost: a\r\n\r\n', answers: ['400'], ends: true },
  { what: 'OPTIONS *', sent: 'OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n', answers: ['200 OPTIONS * a 0'], ends: false },
  { what: 'a port that is none', sent: 'GET / HTTP/1.1\r\nhost: a:x1\r\n\r\n', answers: ['400'], ends: true },
  { what: 'no Host', sent: 'GET / HTTP/1.1\r\n\r\n', answers: ['400'], ends: true },
  { what: 'a bad Host and junk', sent: 'GET / HTTP/1.1\r\nhost: a b\r\n\r\n\x01\x02', answers: ['400'], ends: true },
  { what: 'a bad Host and a request', sent: `GET / HTTP/1.1\r\nhost: a b\r\n\r\n${GET}`, answers: ['400'], ends: true },
  { what: 'CONNECT', sent: 'CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n', answers: ['501'], ends: true },
  {
    what: 'CONNECT with bytes behind it',
    sent: `CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n${GET}`,
    answers: ['501'],
    ends: true,
  },
  {
    what: 'CONNECT behind close',
    sent: `${get('/', 'connection: close\r\n')}CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n`,
    answers: [TOLD],
    ends: true,
  },
  {
    what: 'CONNECT behind a request',
    sent: `${GET}CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n`,
    answers: [TOLD, '501'],
    ends: true,
  },
];

/** @see RFC 9110 §7.8, §10.1.1; RFC 9112 §9.3 */
const ASKING: readonly Case[] = [
  {
    what: 'Expect of something else',
    sent: `${POST}expect: x\r\ncontent-length: 1\r\n\r\n`,
    answers: ['417'],
    ends: true,
  },
  {
    what: 'Expect of something else, behind a request',
    sent: `${GET}${POST}expect: x\r\ncontent-length: 1\r\n\r\na`,
    answers: [TOLD, '417'],
    ends: true,
  },
  {
    what: '100-continue',
    sent: [`${POST}expect: 100-continue\r\ncontent-length: 2\r\n\r\n`, 'ab'],
    answers: ['100', '200 POST / a 2'],
    ends: false,
  },
  {
    what: '100-continue behind a request',
    sent: [`${GET}${POST}expect: 100-continue\r\ncontent-length: 2\r\n\r\n`, 'ab'],
    answers: [TOLD, '100', '200 POST / a 2'],
    ends: false,
  },
  {
    what: '100-continue in HTTP/1.0',
    sent: 'POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nab',
    answers: ['200 POST /  2'],
    ends: true,
  },
  { what: 'Upgrade', sent: get('/', 'connection: upgrade\r\nupgrade: websocket\r\n'), answers: [TOLD], ends: true },
  {
    what: 'Upgrade with a request behind it',
    sent: get('/', 'connection: upgrade\r\nupgrade: h2c\r\n') + GET,
    answers: [TOLD],
    ends: true,
  },
  {
    what: 'Upgrade with a body',
    sent: `${POST}connection: upgrade\r\nupgrade: x\r\ncontent-length: 2\r\n\r\nab`,
    answers: ['200 POST / a 2'],
    ends: true,
  },
  { what: 'HTTP/1.0', sent: 'GET / HTTP/1.0\r\n\r\n', answers: ['200 GET /  0'], ends: true },
  {
    what: 'HTTP/1.0 that stays',
    sent: 'GET / HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nx',
    answers: ['200 GET /  1'],
    ends: true,
  },
  {
    what: 'HTTP/1.0 that could take chunks',
    sent: 'GET / HTTP/1.0\r\nte: chunked\r\nconnection: keep-alive\r\n\r\n',
    answers: ['200 GET /  0'],
    ends: true,
  },
  { what: 'a request behind HTTP/1.0', sent: `GET / HTTP/1.0\r\n\r\n${GET}`, answers: ['200 GET /  0'], ends: true },
  {
    what: 'HTTP/1.0 with chunks',
    sent: 'POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    answers: ['400'],
    ends: true,
  },
  { what: 'HTTP/0.9', sent: 'GET /\r\n\r\n', answers: ['400'], ends: true },
  { what: 'HTTP/2.0', sent: 'GET / HTTP/2.0\r\nhost: a\r\n\r\n', answers: ['400'], ends: true },
  { what: 'the preface of HTTP/2', sent: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', answers: ['400'], ends: true },
];

/** What a parser must not let through; that of Node.js before 20 does, and is helped. @see RFC 9112 §2.2, §5, §7.1; RFC 9110 §5.5 */
const STRICT: readonly Case[] = [
  ...Object.entries({
    'a space before the colon': 'GET / HTTP/1.1\r\nhost : a\r\n\r\n',
    'a space before another colon': get('/', 'x : a\r\n'),
    'a space in a name': get('/', 'x y: a\r\n'),
    'an empty name': get('/', ': a\r\n'),
    'a tab in the target': get('/a\tb'),
    'other than ASCII in the target': get('/\xe9'),
    'a control character in a value': get('/', 'x: a\x07b\r\n'),
    'a zero byte in a value': get('/', 'x: a\0b\r\n'),
    'a name that is none': get('/', 'x(y): a\r\n'),
    'a folded line': get('/', 'x: a\r\n b\r\n'),
    'a line folded by a tab': get('/', 'x: a\r\n\tb\r\n'),
    'a folded coding': `${POST}transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n`,
    'a bare CR': get('/', 'x: a\rb: c\r\n'),
    'a bare CR behind the request line': 'GET / HTTP/1.1\rhost: test\r\n\r\n',
    'a bare LF behind the request line': 'GET / HTTP/1.1\nhost: test\r\n\r\n',
    'a bare LF behind a field': 'GET / HTTP/1.1\r\nhost: test\nx: y\r\n\r\n',
    'a bare LF at the end of the head': 'GET / HTTP/1.1\r\nhost: test\r\n\n',
    'CR alone at the end of the head': 'GET / HTTP/1.1\r\nhost: test\r\n\rx: a\r\n\r\n',
    'CR alone, and a second request behind it': `GET / HTTP/1.1\r\nhost: test\r\n\r${GET}`,
    'CR, CR and LF at the end of the head': 'GET / HTTP/1.1\r\nhost: test\r\n\r\r\n',
    'a semicolon alone behind a chunk size': `${CHUNKED}1;\r\na\r\n0\r\n\r\n`,
    'a space behind a chunk size': `${CHUNKED}1 \r\na\r\n0\r\n\r\n`,
    'a bare CR in an extension': `${CHUNKED}1;a\rb\r\na\r\n0\r\n\r\n`,
    'a bare LF in an extension': `${CHUNKED}1;a\nb\r\na\r\n0\r\n\r\n`,
    'a bare LF behind a chunk size': `${CHUNKED}1\na\r\n0\r\n\r\n`,
    'no CRLF after a chunk': `${CHUNKED}1\r\nabc`,
    'a bare LF after a chunk': `${CHUNKED}1\r\na\n0\r\n\r\n`,
    'a bare LF behind a trailer': `${CHUNKED}0\r\nx: y\nz: z\r\n\r\n`,
    'a folded trailer': `${CHUNKED}0\r\nx: y\r\n z\r\n\r\n`,
  }).map(([what, sent]) => ({ what, sent, answers: ['400'], ends: true })),
  ...Object.entries({
    'what a strict parser refuses, behind a request': `${GET}GET / HTTP/1.1\nhost: test\r\n\r\n`,
    'the same behind a body': `${POST}content-length: 3\r\n\r\n\n\r\rGET / HTTP/1.1\nhost: test\r\n\r\n`,
    'the same behind chunks': `${CHUNKED}3;x=y\r\n\n\r\r\r\n0\r\nx: y\r\n\r\nGET / HTTP/1.1\nhost: test\r\n\r\n`,
  }).map(([what, sent], i) => ({ what, sent, answers: [i === 0 ? TOLD : '200 POST / a 3', '400'], ends: true })),
];

const HEX = (text: string): string => JSON.stringify(text).slice(0, 200);

async function check(
  server: Server,
  { sent, answers, answered = answers.length - 1, ends }: Case,
  cut: boolean,
): Promise<void> {
  const [first, second] = typeof sent === 'string' ? [sent, ''] : sent;
  const connection = await raw(server.port);
  const { socket } = connection;
  socket.setNoDelay(true);
  const send = async (text: string): Promise<void> => {
    if (!cut) {
      socket.write(text, 'latin1');
      return;
    }
    for (const byte of text) {
      if (socket.destroyed) return;
      await new Promise(done => socket.write(byte, 'latin1', done));
      await new Promise(done => setImmediate(done));
    }
  };
  try {
    await send(first);
    if (second !== '') {
      await connection.untilThat(text => parseAnswers(text).length >= answered, `${answered} answers`);
      await send(second);
    }
    // where it ends, nothing is to come after the answers; where not, what is asked next is answered next
    if (!ends) {
      await connection.untilThat(text => parseAnswers(text).length >= answers.length, `${answers.length} answers`);
      await send(get('/still'));
      await connection.untilThat(text => text.includes('/still') && text.endsWith('\r\n0\r\n\r\n'), 'one more answer');
    } else await within(10_000, connection.closed, 'the end of the connection');
    const got = parseAnswers(connection.received());
    const told = got.map(({ status, headers }) => `${status} ${headers.get('x-told') ?? ''}`.trim());
    assert.equal(told, ends ? [...answers] : [...answers, '200 GET /still test 0'], HEX(connection.received()));
    for (const { status, headers } of got) {
      if (status !== 100) assert.ok(headers.has('date'), `${status} without Date`);
      if (status >= 400) assert.is(headers.get('connection'), 'close');
    }
  } finally {
    socket.destroy();
  }
}

const tables = { framing: FRAMING, targets: TARGETS, asking: ASKING, strict: STRICT };
for (const [name, cases] of Object.entries(tables)) {
  for (const cut of [false, true]) {
    const wire = suite(`bytes and answers, ${name}${cut ? ' :: a byte at a time' : ''}`);
    wire('should be as the RFCs ask', async () => {
      const functions = { tell: TELL };
      const profile = { routes: [{ function: 'tell' }] };
      await withServer({ functions, profile }, async server => {
        const faults: string[] = [];
        await Promise.all(
          cases.map(item =>
            check(server, item, cut).catch((error: Error) => {
              faults.push(`${item.what}: ${error.message} ${(error as { details?: string }).details ?? ''}`);
            }),
          ),
        );
        assert.equal(faults, []);
      });
    });
    wire.run();
  }
}
