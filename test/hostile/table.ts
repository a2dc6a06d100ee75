// One table, and long for that: what an attacker, a broken client or another protocol may send, as bytes, with the
// right answer to each. What ordinary clients send, and the plain faults, are in wire.test.ts.

/** Stands in a row for what marks its requests; of the same length, so that lengths stay what they are. */
export const MARK = 'mark-z000';

/** One connection's bytes, and what they are answered with. */
export interface Row {
  readonly name: string;
  /** Where it is told what is right. */
  readonly rfc: string;
  /** As latin1. Behind it a request for `/sentinel` is sent, but to what `leaves`. */
  readonly bytes: string;
  /** By answer: its status, and what the function was told, if it was asked: method, URL, Host, bytes of body. */
  readonly answers: readonly string[];
  /** Whether the connection ends with the last answer. Where not, the sentinel is answered next; else not seen. */
  readonly ends: boolean;
  /** It is found to be broken when the function may have been asked already. */
  readonly begins: boolean;
  /** The client ends its side behind the bytes. */
  readonly leaves: boolean;
  /** What is right as well, and is what another release's parser has to say. */
  readonly or?: Outcome;
}

/** @see Row */
type Outcome = Pick<Row, 'answers' | 'ends'>;

type Options = Partial<Pick<Row, 'ends' | 'begins' | 'leaves' | 'or'>>;

const URL = `/r?${MARK}`;
const head = (method: string, fields = '', url = URL): string => `${method} ${url} HTTP/1.1\r\nhost: a\r\n${fields}`;
const get = (fields = '', url = URL): string => `${head('GET', fields, url)}\r\n`;
const post = (fields: string, body = ''): string => `${head('POST', fields)}\r\n${body}`;
const chunked = (body: string): string => post('transfer-encoding: chunked\r\n', body);
/** What must never be asked for: it is a part of something else. */
const SMUGGLED = `GET /smuggled?${MARK} HTTP/1.1\r\nhost: a\r\n\r\n`;
/** How TLS begins. */
const HELLO = '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03';
const LENGTH = `content-length: ${SMUGGLED.length}\r\n`;
const told = (method: string, bytes = 0, url = URL, host = 'a'): string => `200 ${method} ${url} ${host} ${bytes}`;

/** Rows that are answered alike. */
const rows = (
  rfc: string,
  answers: readonly string[],
  cases: Readonly<Record<string, string>>,
  options: Options = {},
): Row[] =>
  Object.entries(cases).map(([name, bytes]) => ({
    name,
    rfc,
    bytes,
    answers,
    ends: answers.length === 0 || !/^200|^404/.test(answers[answers.length - 1] as string),
    begins: false,
    leaves: false,
    ...options,
  }));
/** No requests: refused before anyone is asked. */
const refused = (rfc: string, cases: Readonly<Record<string, string>>, options?: Options): Row[] =>
  rows(rfc, ['400'], cases, options);
/** Ordinary requests, however they look. */
const taken = (rfc: string, answer: string, cases: Readonly<Record<string, string>>, options?: Options): Row[] =>
  rows(rfc, [answer], cases, options);

/** Both ends of a chunked body, the one that a length tells and the one that chunks tell. */
const TWO_ENDS = `0\r\n\r\n${SMUGGLED}`;
const BOTH = `content-length: ${TWO_ENDS.length}\r\n`;
const coding = (line: string): string => post(`${BOTH}${line}\r\n`, TWO_ENDS);

/** A length beside a coding, and codings that only some take for chunked. */
const CODINGS: readonly Row[] = [
  ...refused('RFC 9112 §6.3', {
    'CL.TE: a length to the end, chunks to the middle': coding('transfer-encoding: chunked'),
    'TE.CL: chunks to the end, a length to the middle': post(
      'transfer-encoding: chunked\r\ncontent-length: 4\r\n',
      `${SMUGGLED.length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`,
    ),
    'CL.TE with a length of 0': post('content-length: 0\r\ntransfer-encoding: chunked\r\n', TWO_ENDS),
    'CL.TE.CL': post(`${BOTH}transfer-encoding: chunked\r\n${BOTH}`, TWO_ENDS),
    'CL.TE of GET': `${head('GET', `${BOTH}transfer-encoding: chunked\r\n`)}\r\n${TWO_ENDS}`,
    'a tab before the coding': coding('transfer-encoding:\tchunked'),
    'a coding without a space': coding('transfer-encoding:chunked'),
    'a coding in other letters': coding('tRANSFER-ENCODING: cHUNKED'),
    'spaces behind the coding': coding('transfer-encoding: chunked \t '),
    'chunked twice in two lines': coding('transfer-encoding: chunked\r\ntransfer-encoding: chunked'),
    'a coding that Connection names': coding('connection: transfer-encoding\r\ntransfer-encoding: chunked'),
    'a length that Connection names': coding('connection: content-length\r\ntransfer-encoding: chunked'),
  }),
  ...refused('RFC 9112 §5.1', {
    'a space before the colon of a coding': coding('transfer-encoding : chunked'),
    'a tab before the colon of a coding': coding('transfer-encoding\t: chunked'),
    'a space before the name of a coding': coding('x: y\r\n transfer-encoding: chunked'),
    'a zero byte in the name of a coding': coding('transfer-encoding\0: chunked'),
    'a CR before the colon of a coding': coding('transfer-encoding\r: chunked'),
    'a CR before the name of a coding': coding('x: y\r\n\rtransfer-encoding: chunked'),
    'a non-breaking space before the colon of a coding': coding('transfer-encoding\xa0: chunked'),
    'no colon behind a coding': coding('transfer-encoding chunked'),
  }),
  ...refused('RFC 9112 §6.1', {
    'a vertical tab before the coding': coding('transfer-encoding: \x0bchunked'),
    'a form feed before the coding': coding('transfer-encoding: \x0cchunked'),
    'a non-breaking space before the coding': coding('transfer-encoding: \xa0chunked'),
    'a zero byte behind the coding': coding('transfer-encoding: chunked\0'),
    'a byte above ASCII behind the coding': coding('transfer-encoding: chunked\xff'),
    xchunked: coding('transfer-encoding: xchunked'),
    chunkedx: coding('transfer-encoding: chunkedx'),
    'chunked before identity': coding('transfer-encoding: chunked, identity'),
    'identity before chunked': coding('transfer-encoding: identity, chunked'),
    identity: coding('transfer-encoding: identity'),
    'chunked in quotes': coding('transfer-encoding: "chunked"'),
    'chunked in other quotes': coding("transfer-encoding: 'chunked'"),
    'chunked in brackets': coding('transfer-encoding: [chunked]'),
    'chunked with a parameter': coding('transfer-encoding: chunked;q=0'),
    'chunked with a comment': coding('transfer-encoding: chunked (x)'),
    'a word behind chunked': coding('transfer-encoding: chunked x'),
    'a comma behind chunked': coding('transfer-encoding: chunked,'),
    'a name of another letter that looks like k': coding('transfer-encoding: chun\xc7\xa9ed'),
    'chunked behind a bare LF': coding('x: y\ntransfer-encoding: chunked'),
    'chunked behind a bare CR': coding('x: y\rtransfer-encoding: chunked'),
    'chunked on the next line': coding('transfer-encoding:\r\n chunked'),
    'chunked in HTTP/1.0': coding('transfer-encoding: chunked').replace('HTTP/1.1', 'HTTP/1.0'),
    'chunked in HTTP/1.0 that stays': coding('connection: keep-alive\r\ntransfer-encoding: chunked').replace(
      'HTTP/1.1',
      'HTTP/1.0',
    ),
    'chunked, chunked': post('transfer-encoding: chunked, chunked\r\n', TWO_ENDS),
    'chunked twice': post('transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n', TWO_ENDS),
    'chunked, then identity': post('transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n', TWO_ENDS),
    'a coding of an empty list': post('transfer-encoding: ,\r\n', TWO_ENDS),
  }),
  // an empty element might be passed over (RFC 9110 §5.6.1.2): nobody sends one who means well
  ...rows('RFC 9112 §6.1', ['501'], {
    'identity, then chunked': post('transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n', TWO_ENDS),
    'an empty element before chunked': post('transfer-encoding: , chunked\r\n', TWO_ENDS),
  }),
  ...taken('RFC 9110 §5.1', told('POST', TWO_ENDS.length), {
    'a coding with an underscore is none': coding('transfer_encoding: chunked'),
    'a coding behind X- is none': coding('x-transfer-encoding: chunked'),
    'TE is no coding': coding('te: chunked, trailers'),
    'Content-Encoding is no coding of the transfer': coding('content-encoding: chunked'),
  }),
  ...taken('RFC 9110 §7.6.1', told('POST', 3), {
    'Connection names the coding': post(
      'connection: transfer-encoding\r\ntransfer-encoding: CHUNKED\r\n',
      '3\r\nabc\r\n0\r\n\r\n',
    ),
    'Connection names the length': post('connection: content-length\r\ncontent-length: 3\r\n', 'abc'),
    'Connection names an id and the length': post(
      'connection: x-fc-request-id, content-length\r\nx-fc-request-id: i\r\ncontent-length: 3\r\n',
      'abc',
    ),
  }),
];

const length = (value: string): string => post(`content-length:${value}\r\n`, SMUGGLED);

/** @see RFC 9110 §8.6 */
const LENGTHS: readonly Row[] = [
  ...refused('RFC 9110 §8.6', {
    'a plus before a length': length(` +${SMUGGLED.length}`),
    'a minus before a length': length(' -1'),
    'minus 0': length(' -0'),
    'a length in hex': length(' 0x1'),
    'a length with a point': length(' 1.0'),
    'a length with an exponent': length(' 1e1'),
    'a length of letters': length(' NaN'),
    'an infinite length': length(' Infinity'),
    'a length with an underscore': length(' 1_0'),
    'an empty length': length(''),
    'a length of spaces': length('  \t '),
    'a length of two numbers': length(' 1 1'),
    'a length in quotes': length(' "1"'),
    'a length with a comma behind it': length(' 1,'),
    'a length with a comma before it': length(' ,1'),
    'a list of lengths that differ': length(` 1, ${SMUGGLED.length}`),
    'a length with a parameter': length(' 1;x'),
    'a length in digits of another script': length(' \xd9\xa1'),
    'a length with a vertical tab': length(' \x0b1'),
    'a length with a zero byte': length(' 1\0'),
    'a length that is folded': length(' 1\r\n 0'),
    'a length of 2^64': length(' 18446744073709551616'),
    'a length of 2^64 and one digit more': length(' 184467440737095516160'),
    'a length of 100 digits': length(` ${'9'.repeat(100)}`),
    'a space before the colon of a length': post(`content-length : ${SMUGGLED.length}\r\n`, SMUGGLED),
    'two lengths, the first of 0': post(`content-length: 0\r\n${LENGTH}`, SMUGGLED),
    'two lengths, the second of 0': post(`${LENGTH}content-length: 0\r\n`, SMUGGLED),
    'two lengths in other letters': post(`Content-Length: 1\r\nCONTENT-LENGTH: ${SMUGGLED.length}\r\n`, SMUGGLED),
    // the same ones might be taken for one
    'two lengths that agree': post(LENGTH + LENGTH, SMUGGLED),
    'two lengths that agree but for a zero': post(`${LENGTH}content-length: 0${SMUGGLED.length}\r\n`, SMUGGLED),
    'two lengths of GET': `${head('GET', `content-length: 0\r\n${LENGTH}`)}\r\n${SMUGGLED}`,
  }),
  ...rows(
    'RFC 9110 §5.5',
    ['400'],
    { 'a tab behind a length': length(` ${SMUGGLED.length}\t`) },
    // from Node.js 26 on
    { or: { answers: [told('POST', SMUGGLED.length)], ends: false } },
  ),
  ...rows('RFC 9110 §15.5.14', ['413'], {
    'a length of 2^53 + 1': length(' 9007199254740993'),
    'a length of 2^63': length(' 9223372036854775808'),
    'a length of 2^64 - 1': length(' 18446744073709551615'),
    'a length of more than is taken': length(' 1048577'),
  }),
  ...taken('RFC 9110 §8.6', told('POST', SMUGGLED.length), {
    'a length with zeros before it': length(` 000${SMUGGLED.length}`),
    'a length with white space around it': length(`\t ${SMUGGLED.length}  `),
    'a request for a body': post(LENGTH, SMUGGLED),
    'a length that is none beside one': post(`${LENGTH}content_length: 0\r\nx-content-length: 0\r\n`, SMUGGLED),
  }),
  ...taken('RFC 9110 §9.3.1', told('GET', SMUGGLED.length), {
    'GET with a request for a body': `${head('GET', LENGTH)}\r\n${SMUGGLED}`,
  }),
  ...taken('RFC 9112 §6.3', told('POST'), { 'POST without a length': post('') }),
];

const size = (line: string): string => chunked(`${line}\r\nabc\r\n0\r\n\r\n`);
const end = (text: string): string => chunked(`3\r\nabc\r\n${text}`);

/** @see RFC 9112 §7.1 */
const CHUNKS: readonly Row[] = [
  ...refused(
    'RFC 9112 §7.1',
    {
      'a plus before a chunk size': size('+3'),
      'a chunk size with 0x': size('0x3'),
      'a chunk size with a point': size('3.0'),
      'a chunk size with h': size('3h'),
      'a chunk size with an underscore': size('0_3'),
      'a space before a chunk size': size(' 3'),
      'a tab before a chunk size': size('\t3'),
      'a tab behind a chunk size': size('3\t'),
      'a vertical tab behind a chunk size': size('3\x0b'),
      'a zero byte behind a chunk size': size('3\0'),
      'no chunk size': size(''),
      'an extension and no chunk size': size(';x=y'),
      'a chunk size in quotes': size('"3"'),
      'two chunk sizes': size('3 3'),
      'a list of chunk sizes': size('3,3'),
      'a chunk size of 2^64': size('10000000000000000'),
      'a chunk size of 2^64 and 3': size('10000000000000003'),
      'a chunk size of 100 digits': size('f'.repeat(100)),
      'a chunk size that is too small': size('2'),
      'a chunk size that is too large': size('5'),
      'a chunk size and CR': chunked('3\rabc\r\n0\r\n\r\n'),
      'a chunk size, CR, CR and LF': chunked('3\r\r\nabc\r\n0\r\n\r\n'),
      'a chunk and LF, CR': chunked('3\r\nabc\n\r0\r\n\r\n'),
      'a chunk and nothing': chunked('3\r\nabc0\r\n\r\n'),
      'a chunk and CR': chunked('3\r\nabc\r0\r\n\r\n'),
      'a last chunk and LF': end('0\n\r\n'),
      'a last chunk and LF, LF': end('0\n\n'),
      'a last chunk, CRLF and LF': end('0\r\n\n'),
      'a last chunk, CRLF and CR': end('0\r\n\r'),
      'a last chunk and CR, CR': end('0\r\r'),
      'a last chunk without an end': end('0\r\n'),
      'a last chunk with a minus': end('-0\r\n\r\n'),
      'a request for a chunk size': chunked(SMUGGLED),
      'a quoted line end in an extension': size('3;x="a\r\nb"'),
      'an extension in quotes that do not end': size('3;x="a'),
      'a zero byte in an extension': size('3;x=a\0'),
      'a bare CR at the end of an extension': size('3;x=a\r'),
      'a space before an extension': size('3 ;x=y'),
      'a trailer without a name': end('0\r\n: a\r\n\r\n'),
      'a trailer without a colon': end('0\r\nabc\r\n\r\n'),
      'a trailer with a space before the colon': end('0\r\nx : a\r\n\r\n'),
      'a trailer with a zero byte': end('0\r\nx: a\0b\r\n\r\n'),
      'a trailer with a space before it': end('0\r\n x: a\r\n\r\n'),
      'a trailer with a bare CR': end('0\r\nx: a\rb: c\r\n\r\n'),
      'a trailer of a coding': end('0\r\ntransfer-encoding: chunked\r\n\r\n'),
    },
    { begins: true },
  ),
  // to be passed over, or refused
  ...refused(
    'RFC 9110 §6.5.1',
    { 'a trailer of a length': end('0\r\ncontent-length: 3\r\n\r\n') },
    { begins: true, or: { answers: [told('POST', 3)], ends: false } },
  ),
  // Node.js 16 does not count them; the line has a limit there
  ...rows(
    'RFC 9112 §7.1.1',
    ['413'],
    { 'an extension of 20 KB': size(`3;x=${'y'.repeat(20_000)}`) },
    { begins: true, or: { answers: [told('POST', 3)], ends: false } },
  ),
  ...rows(
    'RFC 9112 §7.1.1',
    ['413'],
    { 'an extension that does not end': chunked(`3;${'x'.repeat(200_000)}`) },
    { begins: true, or: { answers: ['400'], ends: true } },
  ),
  ...rows(
    'RFC 9110 §6.5.1',
    ['431'],
    {
      'trailers of 100 KB': end(`0\r\n${'x-a: yyyy\r\n'.repeat(10_000)}\r\n`),
      'a trailer of 100 KB': end(`0\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`),
    },
    { begins: true },
  ),
  ...taken('RFC 9112 §7.1', told('POST', 3), {
    'a last chunk of zeros': end('0000\r\n\r\n'),
    'a last chunk with an extension': end('0;x=y\r\n\r\n'),
    'an extension with a value in quotes': size('3;x="a;b,c\\"d"'),
    'an extension without a value': size('3;x'),
    'trailers that name the host and a user': end(
      '0\r\nhost: b\r\nauthorization: x\r\nx-fc-control-path: /pre-stop\r\n\r\n',
    ),
    'a trailer of Object': end('0\r\n__proto__: x\r\nconstructor: y\r\n\r\n'),
  }),
  ...taken('RFC 9112 §7.1', told('POST', 10), {
    'a chunk size in capitals': chunked('A\r\n0123456789\r\n0\r\n\r\n'),
    'chunks that look like others': chunked('5\r\n0\r\n\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n'),
  }),
  // in all they ought to have a limit (RFC 9112 §7.1.1): node:http's is that of one, and nobody holds them
  ...taken('RFC 9112 §7.1.1', told('POST', 10_000), {
    '10 000 extensions': chunked(`${'1;a=b;c\r\nx\r\n'.repeat(10_000)}0\r\n\r\n`),
  }),
  ...taken('RFC 9112 §7.1', told('POST', SMUGGLED.length), {
    'a request for a chunk': chunked(`${SMUGGLED.length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`),
  }),
];

const field = (line: string): string => get(`${line}\r\n`);

/** @see RFC 9110 §5, RFC 9112 §5 */
const FIELDS: readonly Row[] = [
  ...refused('RFC 9112 §5', {
    'a name without a colon': field('x'),
    'a colon alone': field(':'),
    'an empty name and a space': field(' : a'),
    'a space before the first field': `GET ${URL} HTTP/1.1\r\n host: a\r\n\r\n`,
    'a tab before the first field': `GET ${URL} HTTP/1.1\r\n\thost: a\r\n\r\n`,
    'a field before the first in a fold': `GET ${URL} HTTP/1.1\r\n x: y\r\nhost: a\r\n\r\n`,
    'a folded line that is empty': field('x: y\r\n '),
    'a folded line of spaces at the end': field('x:\r\n \t '),
    'a zero byte in a name': field('x\0y: a'),
    'a control character in a name': field('x\x1fy: a'),
    'DEL in a name': field('x\x7f: a'),
    'a byte above ASCII in a name': field('x\x80: a'),
    'UTF-8 in a name': field('\xc3\xa9: a'),
    'a name in quotes': field('"x": a'),
    'a name with a slash': field('x/y: a'),
    'a name with an at': field('x@y: a'),
    'a name with brackets': field('x[y]: a'),
    'a name with braces': field('x{y}: a'),
    'a name with a comma': field('x,y: a'),
    'a name with an equals sign': field('x=y: a'),
    'a name with a backslash': field('x\\y: a'),
    'a tab in a name': field('x\ty: a'),
    'a CR in a name': field('x\ry: a'),
    'an LF in a name': field('x\ny: a'),
    'a header that is a request line': field(SMUGGLED.split('\r\n')[0] ?? ''),
  }),
  ...refused('RFC 9110 §5.5', {
    'DEL in a value': field('x: a\x7fb'),
    'a vertical tab in a value': field('x: a\x0bb'),
    'ESC in a value': field('x: \x1b[2J'),
    'a zero byte for a value': field('x: \0'),
    'CR at the end of a value': field('x: a\r'),
    'LF at the end of a value': field('x: a\n'),
    'a value with a bare CR and a request': field(`x: a\r\r${SMUGGLED}`),
    'a value with LF, LF and a request': field(`x: a\n\n${SMUGGLED}`),
  }),
  ...rows('RFC 6585 §5', ['431'], {
    'a field of 100 KB': field(`x: ${'y'.repeat(100_000)}`),
    'a name of 100 KB': field(`${'x'.repeat(100_000)}: y`),
    'a name without an end': `GET ${URL} HTTP/1.1\r\n${'x'.repeat(200_000)}`,
    '10 000 lines': get('x: abcd\r\n'.repeat(10_000)),
    '10 000 cookies': get('cookie: a=b\r\n'.repeat(10_000)),
    '20 000 lines of nothing': get('x:\r\n'.repeat(20_000)),
  }),
  ...taken('RFC 9110 §5.5', told('GET'), {
    'no space behind the colon': field('x:a'),
    'a colon in a value': field('x:: a:b'),
    'an empty value': field('x:'),
    'a tab in a value': field('x: a\tb'),
    'bytes above ASCII in a value': field('x: \x80\xff'),
    'escapes of line ends in a value': field('x: a%0d%0aset-cookie:%20b\\r\\n'),
    'names of Object': field('__proto__: a\r\nconstructor: b\r\nhasOwnProperty: c\r\ntoString: d\r\n__proto__: e'),
    'a name of all characters that one may have': field("!#$%&'*+-.^_`|~09azAZ: a"),
    '1 500 lines': get('a: \r\n'.repeat(1500)),
    shellshock: field('user-agent: () { :; }; echo x'),
    log4shell: field(`user-agent: $${'{jndi:ldap://a/b}'}`),
  }),
];

const line = (text: string): string => `${text}\r\nhost: a\r\nx: ${MARK}\r\n\r\n`;

/** @see RFC 9112 §3 */
const LINES: readonly Row[] = [
  // unknown methods SHOULD be 501 (RFC 9110 §9.1): node:http's parser knows them by their letters, and nothing else
  ...refused('RFC 9110 §9.1', {
    'a method in small letters': line(`get ${URL} HTTP/1.1`),
    'a method in mixed letters': line(`GeT ${URL} HTTP/1.1`),
    'a method that nobody knows': line(`FOO ${URL} HTTP/1.1`),
    'a method and a letter': line(`GETX ${URL} HTTP/1.1`),
    'a part of a method': line(`GE ${URL} HTTP/1.1`),
    'a method of 5 000 letters': line(`${'A'.repeat(5000)} ${URL} HTTP/1.1`),
    'a zero byte in a method': line(`G\0ET ${URL} HTTP/1.1`),
    'a colon behind a method': line(`GET: ${URL} HTTP/1.1`),
    'no method': line(`${URL} HTTP/1.1`),
  }),
  ...refused('RFC 9112 §3', {
    'a space before the request line': line(` GET ${URL} HTTP/1.1`),
    'a tab before the request line': line(`\tGET ${URL} HTTP/1.1`),
    'a tab behind the method': line(`GET\t${URL} HTTP/1.1`),
    'a tab before the version': line(`GET ${URL}\tHTTP/1.1`),
    'a vertical tab behind the method': line(`GET\x0b${URL} HTTP/1.1`),
    'a space behind the version': line(`GET ${URL} HTTP/1.1 `),
    'a word behind the version': line(`GET ${URL} HTTP/1.1 x`),
    'a space in the target': line(`GET /r ${MARK} HTTP/1.1`),
    'two targets': line(`GET ${URL} /smuggled?${MARK} HTTP/1.1`),
    'two versions': line(`GET ${URL} HTTP/1.1 HTTP/1.1`),
    'no target': line('GET HTTP/1.1'),
    'a space for a target': line('GET  HTTP/1.1'),
    'a method alone': line('GET'),
    'a CR in the request line': line(`GET ${URL}\r HTTP/1.1`),
    'an LF in the request line': line(`GET ${URL}\n HTTP/1.1`),
    'a zero byte in the target': line(`GET /r\0?${MARK} HTTP/1.1`),
    'DEL in the target': line(`GET /r\x7f?${MARK} HTTP/1.1`),
    'UTF-8 in the target': line(`GET /\xc3\xa9?${MARK} HTTP/1.1`),
    'overlong UTF-8 in the target': line(`GET /\xc0\xae\xc0\xae?${MARK} HTTP/1.1`),
  }),
  // a version of 1 SHOULD be taken for 1.1 (RFC 9110 §2.5): there is none above that, and node:http refuses it
  ...refused('RFC 9112 §2.3', {
    'HTTP/1.2': line(`GET ${URL} HTTP/1.2`),
    'HTTP/1.10': line(`GET ${URL} HTTP/1.10`),
    'HTTP/01.1': line(`GET ${URL} HTTP/01.1`),
    'HTTP/1.': line(`GET ${URL} HTTP/1.`),
    'HTTP/1': line(`GET ${URL} HTTP/1`),
    'HTTP/11': line(`GET ${URL} HTTP/11`),
    'HTTP/3.0': line(`GET ${URL} HTTP/3.0`),
    'HTTP/0.9 by its number': line(`GET ${URL} HTTP/0.9`),
    'http/1.1': line(`GET ${URL} http/1.1`),
    'HTTPS/1.1': line(`GET ${URL} HTTPS/1.1`),
    'HTTP and a space': line(`GET ${URL} HTTP /1.1`),
    'HTTP/1,1': line(`GET ${URL} HTTP/1,1`),
    'HTTP/+1.1': line(`GET ${URL} HTTP/+1.1`),
    'a zero byte behind the version': line(`GET ${URL} HTTP/1.1\0`),
    'HTTP/0.9 and LF': `GET ${URL}\n`,
    'another protocol of the same form': line(`GET ${URL} SIP/2.0`),
    'RTSP of a method of its own': line(`DESCRIBE rtsp://a${URL} RTSP/1.0`),
  }),
  // ought to be 400: node:http's parser takes these names for HTTP's and does not tell of them; messages end alike
  // in all of them
  ...taken('RFC 9112 §2.3', told('GET'), { 'RTSP/1.1 of GET': line(`GET ${URL} RTSP/1.1`) }),
  ...taken('RFC 9112 §2.3', told('GET'), { 'RTSP/1.0 of GET': line(`GET ${URL} RTSP/1.0`) }, { ends: true }),
  ...taken('RFC 9112 §2.3', told('SOURCE'), { 'ICE/1.0 of SOURCE': line(`SOURCE ${URL} ICE/1.0`) }, { ends: true }),
  ...refused('RFC 9112 §3.2', {
    'authority form of GET': line('GET a:80 HTTP/1.1'),
    'a name for a target': line(`GET r?${MARK} HTTP/1.1`),
    'a query for a target': line(`GET ?${MARK} HTTP/1.1`),
    'an asterisk of POST': line('POST * HTTP/1.1'),
    'an asterisk and a query': line(`OPTIONS *?${MARK} HTTP/1.1`),
    'an asterisk and a path': line(`OPTIONS */r?${MARK} HTTP/1.1`),
    'a path of backslashes': line(`GET \\r?${MARK} HTTP/1.1`),
    'dots for a target': line(`GET ../r?${MARK} HTTP/1.1`),
    'absolute form with a user and password': line(`GET http://u:p@a${URL} HTTP/1.1`),
    'absolute form with a user of escapes': line(`GET http://a%40b@a${URL} HTTP/1.1`),
    'absolute form of nothing': line('GET http:// HTTP/1.1'),
    'absolute form without an authority': line(`GET http://${URL} HTTP/1.1`),
    'absolute form of one slash': line(`GET http:/a${URL} HTTP/1.1`),
    'absolute form with a backslash': line(`GET http://a\\@b${URL} HTTP/1.1`),
    'absolute form with a port of letters': line(`GET http://a:8x${URL} HTTP/1.1`),
    'absolute form with an address that does not end': line(`GET http://[::1${URL} HTTP/1.1`),
    'absolute form with two hosts': line(`GET http://a,b${URL} HTTP/1.1`),
    'absolute form of a file': line('GET file:///etc/passwd HTTP/1.1'),
    'absolute form of a script': line('GET javascript:alert(1) HTTP/1.1'),
    'a fragment and a query': line(`GET /r#?${MARK} HTTP/1.1`),
    'a fragment in the query': line(`GET ${URL}#/../smuggled HTTP/1.1`),
  }),
  // a target that is too long is 414 (RFC 9112 §3): node:http's parser does not tell it from fields that are
  ...rows('RFC 9110 §15.5.15', ['431'], {
    'a target of 70 KB': get('', `${URL}${'x'.repeat(70_000)}`),
    'a target without an end': `GET ${URL}${'x'.repeat(200_000)}`,
    'an absolute form of 70 KB': get('', `http://${'a'.repeat(70_000)}${URL}`),
  }),
  ...[
    ['two slashes', `//b${URL}`],
    ['only slashes', `////?${MARK}`],
    ['a backslash in the path', `/\\b\\..\\r?${MARK}`],
    ['dots above the root', `/../../etc/passwd?${MARK}`],
    ['dots in escapes', `/%2e%2e/%2E%2E/etc/passwd?${MARK}`],
    ['dots and slashes in escapes', `/..%2f..%2Fetc%2fpasswd?${MARK}`],
    ['dots and backslashes in escapes', `/..%5c..%5cetc?${MARK}`],
    ['dots in escapes of escapes', `/%252e%252e/etc?${MARK}`],
    ['overlong UTF-8 in escapes', `/%c0%ae%c0%ae/etc?${MARK}`],
    ['dots and parameters', `/..;/..;a=b/etc?${MARK}`],
    ['a zero byte in escapes', `/r%00.js?${MARK}`],
    ['line ends in escapes', `/r%0d%0ax:%20y?${MARK}%0d%0a%0d%0aGET%20/smuggled`],
    ['an escape that is none', `/%zz%?${MARK}%`],
    ['UTF-8 that is cut off in escapes', `/%e4%b8?${MARK}`],
    ['a prefix of FC, and dots', `/r/2016-08-15/proxy/../../r?${MARK}`],
    ['properties of Object in the query', `/r?${MARK}&__proto__[x]=1&constructor.prototype.y=2`],
    ['a question mark twice', `/r??${MARK}?`],
    ['characters that a URI has not', `/r?${MARK}|{}^\`"<>`],
    ['a path that is a URL', `/http://b/r?${MARK}`],
    ['a hook of another path', `/pre-stop/?${MARK}`],
    ['a hook behind two slashes', `//pre-stop?${MARK}`],
    ['a hook in escapes', `/pre%2dstop?${MARK}`],
    ['a hook in other letters', `/PRE-STOP?${MARK}`],
    ['a hook behind dots', `/x/../pre-stop?${MARK}`],
  ].flatMap(([name = '', url = '']) => taken('RFC 9112 §3.2.1', told('GET', 0, url), { [name]: get('', url) })),
  ...taken('RFC 9110 §9.3', told('GET', 0, '/r', 'b'), {
    'absolute form in capitals': `GET HTTP://b/r HTTP/1.1\r\nhost: a\r\nx: ${MARK}\r\n\r\n`,
  }),
  ...taken('RFC 9112 §3.2.2', told('GET', 0, `/?${MARK}`, 'b:99999'), {
    // by its grammar a port is digits, any of them
    'absolute form with a port above all': get('', `http://b:99999?${MARK}`),
  }),
  ...taken('RFC 9112 §3.2.4', told('OPTIONS', 0, '*'), {
    'an asterisk': `OPTIONS * HTTP/1.1\r\nhost: a\r\nx: ${MARK}\r\n\r\n`,
  }),
  ...['M-SEARCH', 'PROPFIND', 'TRACE', 'LINK', 'PURGE', 'REPORT'].flatMap(method =>
    taken('RFC 9110 §9.1', told(method), { [`method ${method}`]: `${head(method)}\r\n` }),
  ),
  ...taken('RFC 9110 §9.3.8', told('TRACE', 3), {
    'TRACE with a body': `${head('TRACE', 'content-length: 3\r\n')}\r\nabc`,
  }),
];

const host = (value: string): string => `GET ${URL} HTTP/1.1\r\nhost: ${value}\r\n\r\n`;

/** @see RFC 9112 §3.2, RFC 9110 §7.2 */
const HOSTS: readonly Row[] = [
  ...refused('RFC 9112 §3.2', {
    'two Hosts that agree': get('host: a\r\n'),
    'two Hosts, one empty': get('host:\r\n'),
    'two Hosts in other letters': get('HOST: b\r\n'),
    'two Hosts in a list': host('a, b'),
    'two Hosts and a space': host('a b'),
    'Host and a space before the colon': get('host : b\r\n'),
    'a Host on two lines': host('a\r\n b'),
    'a Host with a user': host('u@a'),
    'a Host with a user and password': host('u:p@a'),
    'a Host with an at alone': host('a@'),
    'a Host with a path': host('a/b'),
    'a Host with a query': host('a?b'),
    'a Host with a fragment': host('a#b'),
    'a Host with a backslash': host('a\\b'),
    'a Host that is a URL': host('http://a'),
    'a Host with a scheme': host('//a'),
    'a Host of an address without brackets': host('::1'),
    'a Host of an address that does not end': host('[::1'),
    'a Host of an address and letters': host('[::1]x'),
    'a Host with two ports': host('a:80:80'),
    'a Host with a negative port': host('a:-1'),
    'a Host with a port in hex': host('a:0x50'),
    'a Host with a port and a space': host('a: 80'),
    'a Host with a broken escape': host('%zz'),
    'a Host of UTF-8': host('\xc3\xa9'),
    'a Host with a tab': host('a\tb'),
    'a Host in quotes': host('"a"'),
    'a Host of markup': host('<script>'),
    'a Host with a zero byte': host('a\0'),
    'no Host, but another name for it': `GET ${URL} HTTP/1.1\r\nx-forwarded-host: a\r\n:authority: a\r\n\r\n`,
    'no Host, and HTTP/1.0 told elsewhere': `GET ${URL} HTTP/1.1\r\nvia: 1.0 a\r\n\r\n`,
    'two Hosts in HTTP/1.0': get('host: b\r\n').replace('HTTP/1.1', 'HTTP/1.0'),
  }),
  ...['a:99999', 'a:', 'a..b', 'a%00b', '[::1]:80', '[v1.a:b]', "!$&'()*+;=", '127.0.0.1', '2130706433'].flatMap(name =>
    taken('RFC 3986 §3.2.2', told('GET', 0, URL, name), { [`a Host of ${name}`]: host(name) }),
  ),
  ...taken('RFC 9110 §7.2', told('GET'), {
    'other names for Host': get(
      'x-forwarded-host: b\r\nx-host: b\r\nforwarded: host=b\r\nx-original-url: /smuggled\r\n',
    ),
  }),
];

/** @see RFC 9110 §7.6.1, §7.8, §10.1.1 */
const HOPS: readonly Row[] = [
  ...rows('RFC 9110 §10.1.1', ['417'], {
    'Expect of nothing': get('expect:\r\n'),
    'Expect with a parameter': post('expect: 100-continue;q=1\r\ncontent-length: 1\r\n', 'a'),
    'Expect of two things': post('expect: 100-continue, x\r\ncontent-length: 1\r\n', 'a'),
    'Expect twice, of two things': post('expect: 100-continue\r\nexpect: x\r\ncontent-length: 1\r\n', 'a'),
    'Expect of a number': post(`expect: 100\r\n${LENGTH}`, SMUGGLED),
  }),
  ...rows('RFC 9110 §10.1.1', ['100', told('POST')], {
    '100-continue without a body': post('expect: 100-continue\r\ncontent-length: 0\r\n'),
    '100-continue without a length': post('expect: 100-continue\r\n'),
    '100-continue in capitals': post('expect: 100-CONTINUE\r\ncontent-length: 0\r\n'),
    '100-continue twice': post('expect: 100-continue\r\nexpect: 100-continue\r\ncontent-length: 0\r\n'),
  }),
  ...rows('RFC 9110 §10.1.1', ['100', told('POST', SMUGGLED.length)], {
    '100-continue, not waited for': post(`expect: 100-continue\r\n${LENGTH}`, SMUGGLED),
  }),
  ...taken('RFC 9110 §7.6.1', told('GET'), {
    'Connection of nothing': get('connection:\r\n'),
    'Connection of commas': get('connection: ,, ,\r\n'),
    'Connection of names of Object': get('connection: __proto__, constructor\r\n__proto__: x\r\n'),
    'Connection of FC’s names': get(
      'connection: x-fc-control-path, x-fc-function-timeout\r\nx-fc-control-path: /http-invoke\r\n',
    ),
    'Connection of what is no token': get('connection: "close"; a/b @\r\n'),
    'Connection of 5 000 names': get(`connection: ${'a, '.repeat(5000)}b\r\n`),
    'Connection of 4 000 lines': get('connection: a\r\n'.repeat(4000)),
    'Keep-Alive that asks for much': get('connection: keep-alive\r\nkeep-alive: timeout=1, max=1\r\n'),
  }),
  ...taken(
    'RFC 9112 §9.6',
    told('GET'),
    {
      'close and keep-alive, and a request behind it': get('connection: close, keep-alive\r\n') + SMUGGLED,
      'keep-alive and close in two lines': get('connection: keep-alive\r\nconnection: close\r\n') + SMUGGLED,
      // no field that a server knows (RFC 9112 C.2.2), but node:http's parser does, and to close is safe
      'Proxy-Connection that asks to close': get('proxy-connection: close\r\n') + SMUGGLED,
      'close in capitals among others': get('connection: x,CLOSE ,y\r\n') + SMUGGLED,
    },
    { ends: true },
  ),
  ...taken(
    'RFC 9110 §7.8',
    told('GET'),
    {
      'a handshake of WebSocket, and a frame': `${get(
        'connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n',
      )}\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58`,
      'a handshake of WebSocket of another version':
        get('connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 777\r\n') + SMUGGLED,
      'h2c, and its preface': `${get(
        'connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n',
      )}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0`,
      'h2c that Connection does not name': get('upgrade: h2c\r\n') + SMUGGLED,
      'an upgrade to TLS': `${get('connection: upgrade\r\nupgrade: TLS/1.2\r\n')}${HELLO}`,
      'an upgrade to many': get('connection: upgrade\r\nupgrade: a, b, websocket, h2c\r\n') + SMUGGLED,
      'an upgrade to nothing': get('connection: upgrade\r\nupgrade:\r\n') + SMUGGLED,
    },
    { ends: true },
  ),
  ...taken(
    'RFC 9110 §7.8',
    told('POST', SMUGGLED.length),
    {
      'an upgrade with a request for a body': post(`connection: upgrade\r\nupgrade: websocket\r\n${LENGTH}`, SMUGGLED),
      'an upgrade with a request for a chunk': post(
        'connection: upgrade\r\nupgrade: h2c\r\ntransfer-encoding: chunked\r\n',
        `${SMUGGLED.length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`,
      ),
    },
    { ends: true },
  ),
  ...rows('RFC 9110 §9.3.6', ['501'], {
    'CONNECT with a body': `CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n${LENGTH}\r\n${SMUGGLED}`,
    'CONNECT with chunks': `CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\ntransfer-encoding: chunked\r\n\r\n${TWO_ENDS}`,
    'CONNECT without a Host': `CONNECT a:80 HTTP/1.1\r\n\r\n${SMUGGLED}`,
    'CONNECT of ourselves': `CONNECT 127.0.0.1:80 HTTP/1.1\r\nhost: 127.0.0.1:80\r\n\r\n${SMUGGLED}`,
    // whatever it asks for: there are no tunnels
    'CONNECT of a path': line(`CONNECT ${URL} HTTP/1.1`),
    'CONNECT in HTTP/1.0': `CONNECT a:80 HTTP/1.0\r\n\r\n${SMUGGLED}`,
    'CONNECT and TLS': `CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n${HELLO}`,
  }),
  ...refused('RFC 9112 §3.2.3', {
    'CONNECT in small letters': line('connect a:80 HTTP/1.1'),
  }),
];

const fc = (name: string, ...values: string[]): string => get(values.map(value => `${name}: ${value}\r\n`).join(''));
const POST_INVOKE = `POST /invoke?${MARK} HTTP/1.1\r\nhost: a\r\nx-fc-control-path: `;

/** What FC alone may say, and what tells who is called. @see FC contract §2, §3 */
const GATEWAY: readonly Row[] = [
  ...taken('FC contract §3', told('GET'), {
    'two ids': fc('x-fc-request-id', 'a', 'b'),
    'an empty id': fc('x-fc-request-id', ''),
    'an id of 10 KB': fc('x-fc-request-id', 'a'.repeat(10_000)),
    'an id that would end a line of the log': fc('x-fc-request-id', 'a\\n{"level":"error"}", "b": "'),
    'an id of bytes above ASCII': fc('x-fc-request-id', '\x80\x9b\xff'),
    'an id of a name of Object': fc('x-fc-request-id', '__proto__'),
    'two timeouts': fc('x-fc-function-timeout', '1', '2'),
    'a timeout of letters': fc('x-fc-function-timeout', 'NaN'),
    'a timeout that never comes': fc('x-fc-function-timeout', 'Infinity'),
    'a timeout of 0': fc('x-fc-function-timeout', '0'),
    'a negative timeout': fc('x-fc-function-timeout', '-1'),
    'a timeout of 2^31 seconds': fc('x-fc-function-timeout', '2147483648'),
    'a timeout of 100 digits': fc('x-fc-function-timeout', '9'.repeat(100)),
    'a timeout of a list': fc('x-fc-function-timeout', '1, 2'),
    'a timeout of a fraction': fc('x-fc-function-timeout', '0.001'),
    'a timeout in hex': fc('x-fc-function-timeout', '0x0'),
    'an empty timeout': fc('x-fc-function-timeout', ''),
    'two names of functions': fc('x-fc-function-name', 'a', 'b'),
    'a name of a function out of Object': fc('x-fc-function-name', '__proto__'),
    'parameters of another runtime': fc('x-fc-http-params', 'eyJwYXRoIjoiL3NtdWdnbGVkIn0='),
    'a base path': fc('x-fc-base-path', '/smuggled'),
    'an endpoint of tracing': fc('x-fc-tracing-jaeger-endpoint', 'http://b/\xff'),
    'a trace that is none': fc('traceparent', '00-\xff-zz-', '00-0-0-0'),
    'two credentials': fc('x-fc-access-key-secret', 'a', 'b'),
  }),
  ...[
    ['two control paths', '/http-invoke\r\nx-fc-control-path: /pre-stop'],
    ['two control paths, the hook first', '/pre-stop\r\nx-fc-control-path: /http-invoke'],
    ['two control paths that agree', '/pre-stop\r\nx-fc-control-path: /pre-stop'],
    ['a control path in other letters', '/PRE-STOP'],
    ['a control path with a query', '/pre-stop?x'],
    ['a control path with a slash behind it', '/pre-stop/'],
    ['a control path in escapes', '/pre%2dstop'],
    ['a control path without a slash', 'pre-stop'],
    ['a control path of a name of Object', '__proto__'],
    ['a control path of another name of Object', 'constructor'],
    ['a control path of a list', '/pre-stop, '],
    ['a control path of 10 KB', `/${'a'.repeat(10_000)}`],
    ['a control path of bytes above ASCII', '/pre-stop\xa0'],
    ['a control path that Connection names', '/http-invoke\r\nconnection: x-fc-control-path'],
  ].flatMap(([name = '', value = '']) =>
    taken('FC contract §2', told('GET', 0, '/pre-stop', MARK), {
      [name]: `GET /pre-stop HTTP/1.1\r\nhost: ${MARK}\r\nx-fc-control-path: ${value}\r\n\r\n`,
    }),
  ),
  ...taken('FC contract §2', told('POST', 3, `/invoke?${MARK}`), {
    'an event that is none': `${POST_INVOKE}/http-invoke\r\ncontent-length: 3\r\n\r\nabc`,
  }),
  ...rows('FC contract §2', ['400'], {
    // not FC's 404: which fields are whose is not known of a head that is none
    'an event of two ends, as one': `${POST_INVOKE}/invoke\r\n${BOTH}transfer-encoding: chunked\r\n\r\n${TWO_ENDS}`,
    'an event of two ends': `${POST_INVOKE}/http-invoke\r\n${BOTH}transfer-encoding: chunked\r\n\r\n${TWO_ENDS}`,
  }),
  ...rows('README, dispatch header', ['404'], {
    'a function of no name': fc('x-dispatch', 'function:'),
    'a service of no name': fc('x-dispatch', 'service:'),
    'a function that is a name of Object': fc('x-dispatch', '__proto__'),
    'a function that is a method of Object': fc('x-dispatch', 'function:constructor'),
    'a service that is a name of Object': fc('x-dispatch', 'service:__proto__'),
    'a function of a path': fc('x-dispatch', '../tell'),
    'two functions': fc('x-dispatch', 'tell', 'tell'),
    'a function of two prefixes': fc('x-dispatch', 'function:service:tell'),
    'a function in capitals': fc('x-dispatch', 'TELL'),
    'a function of bytes above ASCII': fc('x-dispatch', 'tell\xff'),
    'a function of 10 KB': fc('x-dispatch', 'a'.repeat(10_000)),
    'a function of a path’s name of Object': get('', `/by/__proto__?${MARK}`),
    'a function of a path’s zero byte': get('', `/by/tell%00?${MARK}`),
    'a function of a path’s dots': get('', `/by/..%2ftell?${MARK}`),
    'a function of a path’s line end': get('', `/by/tell%0d%0a?${MARK}`),
  }),
  ...taken('README, dispatch header', told('GET'), {
    'an empty dispatch header': fc('x-dispatch', ''),
    'a dispatch header of spaces': fc('x-dispatch', ' \t '),
  }),
];

/** What clients of other protocols say first. */
const FOREIGN: readonly Row[] = [
  ...refused('RFC 9112 §2.2', {
    'a ClientHello of TLS': `${HELLO}${'\x55'.repeat(32)}\x20${'\xaa'.repeat(32)}\0\x08\x13\x02\x13\x03`,
    'a ClientHello of SSL 2': '\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10',
    SSH: 'SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n',
    'Redis by RESP': '*1\r\n$4\r\nPING\r\n',
    'Redis inline': 'PING\r\n',
    'Redis that is told to be a slave': 'SLAVEOF 10.0.0.1 6379\r\n',
    SMTP: 'EHLO a.test\r\nMAIL FROM:<a@b>\r\n',
    'SMTP of old': 'HELO a.test\r\n',
    FTP: 'USER anonymous\r\n',
    IRC: 'NICK a\r\nUSER a 0 * :a\r\n',
    POP3: 'CAPA\r\n',
    IMAP: 'a1 CAPABILITY\r\n',
    memcached: 'stats\r\n',
    PostgreSQL: '\0\0\0\x08\x04\xd2\x16\x2f',
    MySQL: '\x20\0\0\x01\x85\xa6\x03\0',
    MongoDB: '\x3a\0\0\0\x01\0\0\0\0\0\0\0\xd4\x07\0\0',
    RDP: '\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0',
    'SOCKS 4': '\x04\x01\0\x50\x7f\0\0\x01\0',
    'SOCKS 5': '\x05\x01\0',
    DNS: '\0\x1c\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07version\x04bind\0\0\x10\0\x03',
    MQTT: '\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0',
    AMQP: 'AMQP\0\0\x09\x01',
    LDAP: '\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0',
    SMB: '\0\0\0\x85\xffSMB\x72\0\0\0\0',
    Kafka: '\0\0\0\x17\0\x12\0\0\0\0\0\x01\0\x01a',
    JDWP: 'JDWP-Handshake',
    'RMI of Java': 'JRMI\0\x02K',
    'an object of Java': '\xac\xed\0\x05sr\0',
    SIP: `OPTIONS sip:a SIP/2.0\r\nvia: SIP/2.0/TCP a\r\nx: ${MARK}\r\n\r\n`,
    'the preface of HTTP/2, and frames': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\xff\xff',
    'a frame of HTTP/2': '\0\0\0\x04\0\0\0\0\0',
    'the PROXY protocol': `PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n${SMUGGLED}`,
    'the PROXY protocol, version 2': `\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\0\x01\0\x02${SMUGGLED}`,
    'an answer': `HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n${SMUGGLED}`,
    JSON: '{"jsonrpc":"2.0"}\r\n',
    XML: '<?xml version="1.0"?>\r\n',
    'zero bytes': '\0'.repeat(1000),
    'bytes of all kinds': String.fromCharCode(...Array.from({ length: 256 }, (_, i) => 255 - i)),
    '200 KB without a line end': 'A'.repeat(200_000),
    '200 KB of bytes above ASCII': '\xfe'.repeat(200_000),
  }),
  ...refused('RFC 9112 §2.2', {
    'a zero byte before a request': `\0${SMUGGLED}`,
    'a byte order mark before a request': `\xef\xbb\xbf${SMUGGLED}`,
    'a space behind an empty line': `\r\n ${SMUGGLED}`,
    'a letter before a request': `x${SMUGGLED}`,
  }),
  ...taken('RFC 9112 §2.2', told('GET'), {
    'an empty line of LF before a request': `\n${get()}`,
    '10 000 empty lines before a request': '\r\n'.repeat(10_000) + get(),
  }),
];

/** What a client leaves unfinished. @see RFC 9112 §8 */
const HALVES: readonly Row[] = [
  ...rows('RFC 9112 §8', [], { nothing: '', 'empty lines alone': '\r\n\r\n' }, { leaves: true }),
  ...refused(
    'RFC 9112 §8',
    {
      'half a method': 'GE',
      'half a request line': `GET ${URL} HT`,
      'a request line alone': `GET ${URL} HTTP/1.1\r\n`,
      'half a field': head('GET', 'x: y'),
      'a head without its end': head('GET', 'x: y\r\n'),
      'a head and CR': `${head('GET', 'x: y\r\n')}\r`,
    },
    { leaves: true },
  ),
  ...rows(
    'RFC 9112 §8',
    [],
    {
      'a head without its body': post('content-length: 3\r\n'),
      'half a body': post('content-length: 3\r\n', 'ab'),
      'a head without its chunks': chunked(''),
      'half a chunk size': chunked('1'),
      'half a chunk': chunked('3\r\nab'),
      'a chunk without its line end': chunked('3\r\nabc'),
      'no last chunk': chunked('3\r\nabc\r\n'),
      'half a last chunk': chunked('3\r\nabc\r\n0\r\n'),
      'half a trailer': chunked('3\r\nabc\r\n0\r\nx: y'),
    },
    { leaves: true, begins: true },
  ),
  // before Node.js 20 our own limit
  ...rows(
    'RFC 9112 §7.1',
    [],
    { 'a chunk of 2^52 bytes': chunked('10000000000000\r\nabc') },
    { leaves: true, begins: true, or: { answers: ['400'], ends: true } },
  ),
  ...rows(
    'RFC 9112 §8',
    ['100'],
    { 'half a body that was asked for': post('expect: 100-continue\r\ncontent-length: 3\r\n', 'ab') },
    { leaves: true, begins: true },
  ),
  ...rows(
    'RFC 9112 §8',
    [told('GET'), '400'],
    { 'half a request behind a request': get() + SMUGGLED.slice(0, 10) },
    { leaves: true },
  ),
];

const ANOTHER = told('GET', 0, `/s?${MARK}`);
const SECOND = get('', `/s?${MARK}`);

/** Requests of which some are none. @see RFC 9112 §9.3.2 */
const MIXES: readonly Row[] = [
  ...rows('RFC 9112 §9.3.2', [told('GET'), '400'], {
    'a request with two ends behind a request':
      get() + coding('transfer-encoding: chunked').replace('/r?', '/smuggled?'),
    'a request with two Hosts behind a request': get() + get('host: b\r\n', `/smuggled?${MARK}`),
    'a bad line between two requests': `${get()}GET /smuggled?${MARK}\r\n\r\n${SMUGGLED}`,
    'TLS behind a request': `${get()}\x16\x03\x01\0\xf8`,
    'an answer behind a request': `${get()}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n`,
  }),
  ...rows('RFC 9112 §9.3.2', [told('POST', 3), '400'], {
    'a letter behind a body': `${post('content-length: 3\r\n', 'abcx')}${SMUGGLED}`,
    'a letter behind the last chunk': `${chunked('3\r\nabc\r\n0\r\n\r\nx')}${SMUGGLED}`,
    'a chunk behind the last chunk': chunked(`3\r\nabc\r\n0\r\n\r\n3\r\nabc\r\n0\r\n\r\n${SMUGGLED}`),
    'a length too small by a line': `${post('content-length: 3\r\n', 'abc: d\r\n\r\n')}${SMUGGLED}`,
  }),
  ...rows('RFC 9112 §9.3.2', [told('POST', 3), ANOTHER], {
    'a request behind a body': post('content-length: 3\r\n', 'abc') + SECOND,
    'a request behind a body and an empty line': `${post('content-length: 3\r\n', 'abc')}\r\n${SECOND}`,
    'a request behind chunks': chunked('3\r\nabc\r\n0\r\n\r\n') + SECOND,
    'a request behind trailers': chunked('3\r\nabc\r\n0\r\ncontent-type: x\r\nhost: b\r\n\r\n') + SECOND,
  }),
  ...rows('RFC 9112 §9.3.2', [told('GET'), told('POST', 3), '417'], {
    'three requests, the last of which expects much':
      get() + chunked('3\r\nabc\r\n0\r\n\r\n') + get('expect: x\r\n', `/smuggled?${MARK}`),
  }),
  ...rows('RFC 9112 §9.3.2', [told('GET'), '431'], {
    'a field of 100 KB behind a request': get() + get(`x: ${'y'.repeat(100_000)}\r\n`, `/smuggled?${MARK}`),
  }),
  ...rows('RFC 9112 §9.3.2', Array<string>(20).fill(told('GET')), { '20 requests': get().repeat(20) }),
  ...rows(
    'RFC 9112 §9.3',
    [told('GET', 0, URL, '')],
    { 'HTTP/1.0, and a request behind it': `GET ${URL} HTTP/1.0\r\n\r\n${SMUGGLED}` },
    { ends: true },
  ),
  ...rows(
    'RFC 9112 §9.3',
    [told('POST', 3)],
    {
      'HTTP/1.0 that would stay, and a request behind it': post(
        'connection: keep-alive\r\ncontent-length: 3\r\n',
        `abc${SMUGGLED}`,
      ).replace('HTTP/1.1', 'HTTP/1.0'),
      'a body behind close, and a request behind it': post(
        'connection: close\r\ncontent-length: 3\r\n',
        `abc${SMUGGLED}`,
      ),
      'chunks behind close, and a request behind them': post(
        'connection: close\r\ntransfer-encoding: chunked\r\n',
        `3\r\nabc\r\n0\r\n\r\n${SMUGGLED}`,
      ),
    },
    { ends: true },
  ),
];

/** All of them. */
export const TABLE: readonly Row[] = [
  ...CODINGS,
  ...LENGTHS,
  ...CHUNKS,
  ...FIELDS,
  ...LINES,
  ...HOSTS,
  ...HOPS,
  ...GATEWAY,
  ...FOREIGN,
  ...HALVES,
  ...MIXES,
];
