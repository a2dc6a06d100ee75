import {
  createServer,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
  type Settings,
  sensitiveHeaders,
} from 'node:http2';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { H2Error } from '../../src/h2/error.ts';
import * as ErrorCode from '../../src/h2/error-code.ts';
import { decodeBlock, encodeBlock, type Fields } from '../../src/h2/hpack.ts';
import { decodeHuffman } from '../../src/h2/huffman.ts';
import { deferred, suite, within } from '../helpers.ts';
import { block, hear, openWatched, socketPath } from './peer.ts';

const MAX_BYTES = 65_536;
const decodeHex = (hex: string): Fields | undefined =>
  decodeBlock(Buffer.from(hex.replace(/ /g, ''), 'hex'), MAX_BYTES);

function fails(run: () => unknown, what: string): void {
  assert.throws(
    run,
    (error: unknown) => error instanceof H2Error && error.code === ErrorCode.COMPRESSION_ERROR,
    `expected COMPRESSION_ERROR: ${what}`,
  );
}

const decoding = suite('hpack decoder');

decoding('should decode the examples of RFC 7541 that need no dynamic table', () => {
  const request = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com'];
  const response = [':status', '302', 'cache-control', 'private', 'date', 'Mon, 21 Oct 2013 20:13:21 GMT'];
  response.push('location', 'https://www.example.com');
  for (const [section, hex, fields] of [
    ['C.2.1', '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572', ['custom-key', 'custom-header']],
    ['C.2.2', '040c 2f73 616d 706c 652f 7061 7468', [':path', '/sample/path']],
    ['C.2.3', '1008 7061 7373 776f 7264 0673 6563 7265 74', ['password', 'secret']],
    ['C.2.4', '82', [':method', 'GET']],
    ['C.3.1', '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d', request],
    ['C.4.1', '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff', request],
    [
      'C.5.1',
      `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32
       3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`.replace(/\s/g, ''),
      response,
    ],
    [
      'C.6.1',
      `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
       1718 63c7 8f0b 97c8 e9ae 82ae 43d3`.replace(/\s/g, ''),
      response,
    ],
  ] as const) {
    assert.equal(decodeHex(hex), fields, section);
  }
});

decoding('should keep no entry of what is to be indexed', () => {
  // C.2.1, and then a field that C.2.1 would have made index 62
  fails(() => decodeHex('400a637573746f6d2d6b65790d637573746f6d2d686561646572be'), 'index 62');
});

decoding('should take every form of a literal, its name from the table or not', () => {
  for (const first of ['00', '10', '40']) {
    assert.equal(decodeHex(`${first}016101 62`), ['a', 'b'], first);
    assert.equal(decodeHex(`${first}0000`), ['', ''], first);
  }
  assert.equal(decodeHex('080161 0f2d0162 180163 480164'), [
    ':status',
    'a',
    'via',
    'b',
    ':status',
    'c',
    ':status',
    'd',
  ]);
});

decoding('should decode integers of any length', () => {
  for (const [length, prefix] of [
    [0, '00'],
    [126, '7e'],
    [127, '7f00'],
    [128, '7f01'],
    [254, '7f7f'],
    [255, '7f8001'],
    [16_510, '7fff7f'],
    [16_511, '7f808001'],
    [60_000, '7fe1d303'],
    // zeros at the end change nothing
    [5, '05'],
    [127, '7f808000'],
    [127, '7f80808000'],
  ] as const) {
    const value = 'v'.repeat(length);
    const bytes = Buffer.concat([Buffer.from(`000161${prefix}`, 'hex'), Buffer.from(value)]);
    assert.equal(decodeBlock(bytes, MAX_BYTES), ['a', value], prefix);
  }
});

decoding('should refuse integers too large for anything', () => {
  for (const hex of ['0001617f8080808001', '0001617fffffffffff0f', 'ffffffffffffffffff', '0001617f8080808000']) {
    fails(() => decodeHex(hex), hex);
  }
  // were it read, it would be 127
  fails(() => decodeHex(`0001617f8080808000${'76'.repeat(127)}`), 'five bytes');
});

decoding('should refuse what only a dynamic table could mean', () => {
  for (const hex of ['be', 'ff00', 'ff8001', '7e0161', '0f2f0161', '1f2f0161', '80']) fails(() => decodeHex(hex), hex);
});

decoding('should take table size updates to 0 before the first field, and no other', () => {
  assert.equal(decodeHex('2082'), [':method', 'GET']);
  assert.equal(decodeHex('202082'), [':method', 'GET']);
  assert.equal(decodeHex('20'), []);
  for (const hex of ['8220', '822082', '2182', '3e82', '3f0082', '3fe11f82']) fails(() => decodeHex(hex), hex);
});

decoding('should refuse a block that is cut short anywhere but between fields', () => {
  const fields = ['a', 'b', 'x-long', 'v'.repeat(300), 'location', 'https://www.example.com'];
  const parts = [fields.slice(0, 2), fields.slice(2, 4), fields.slice(4)].map(pair => block(...pair));
  // Huffman-coded, too
  parts.push(Buffer.from('6e919d29ad171863c78f0b97c8e9ae82ae43d3', 'hex'));
  fields.push('location', 'https://www.example.com');
  const whole = Buffer.concat(parts);
  assert.equal(decodeBlock(whole, MAX_BYTES), fields);
  const ends = parts.map((_, i) => Buffer.concat(parts.slice(0, i)).length);
  for (let at = 0; at < whole.length; at++) {
    const cut = whole.subarray(0, at);
    const count = ends.indexOf(at);
    if (count >= 0) assert.equal(decodeBlock(cut, MAX_BYTES), fields.slice(0, 2 * count), `${at} bytes`);
    else fails(() => decodeBlock(cut, MAX_BYTES), `${at} bytes`);
  }
});

decoding('should count 32 bytes for each field towards the limit', () => {
  const bytes = block('name', 'value', 'b', '');
  assert.equal(decodeBlock(bytes, 9 + 32 + 1 + 32), ['name', 'value', 'b', '']);
  assert.is(decodeBlock(bytes, 9 + 32 + 1 + 31), undefined);
  assert.is(decodeBlock(bytes, 40), undefined);
  assert.equal(decodeBlock(Buffer.alloc(0), 0), []);
  // a byte each on the wire
  assert.is(decodeBlock(Buffer.alloc(60_000, 0x82), MAX_BYTES), undefined);
});

const huffman = suite('huffman');

/** All bytes in order, as coded by libnghttp2 1.52. */
const ALL_BYTES =
  'ffc7fffd8fffffe2fffffe3fffffe4fffffe5fffffe6fffffe7fffffe8ffffeafffffff3fffffa7fffffabffffffdfffffebfffffecfffff' +
  'edfffffeefffffefffffff0ffffff1ffffff2fffffffbfffffcffffffd3fffffd7fffffdbfffffdffffffe3fffffe7fffffebfffffed4fe3' +
  'f9ffaffcabf1febfafefe7fdfd2cbb00089969b71d79fb9f7fff20ffbff3ff50ddbd7f061c58f265cd9f469d5af66dddbf871e5f9cff7ff7' +
  'fffc3ff9ffe45fff4719242cb34e6e9d68a6a3d7dac426defe3cfaf7fffbfe7ffbffdffffffcfffe6ffff4bfff9ffffa3fffd3ffff53fffd' +
  '5ffffb3fffeb7fffdaffffb7ffff73fffeeffffdeffffebffffbfffffd9ffffdbfffebffffe0ffffeeffffc3ffff8bffff1ffffe4fffee7f' +
  'ffb1ffff97fffd9ffffcdffff9fffffbffffdafffeeffff4ffffb7fffee7fffe8ffffd3fffdeffffd5fffeeffffbdffffe1fffdfffff7fff' +
  'ff5ffffecffff07fff87fffe0ffff17fffedffff87ffff77fffeffffeaffff8bfffe3ffff93ffff87fffcbffff37ffff1fffff83ffffe1ff' +
  'febfffe3ffff3fffff2ffffa3ffffd9fffff17ffffc7fffff27ffffdefffffbffffff2fffff8fffffb7fff97fff8fffffe6fffffc1fffff8' +
  '7ffffe7fffffc5ffffe5fffe4ffff2fffffd1fffff4ffffffefffffe3fffffc9fffff97fffb3ffffcffffb7fffcdffff4ffff9ffffd1ffff' +
  'cffffeaffffafffffddffffeffffff4fffff5fffffabffffa7ffffd7fffff9bffffecfffffb7fffff3fffffe8fffffd3fffffabfffff5fff' +
  'ffff7ffffecfffffdbfffffbbfffff7ffffff0fffffbbf';

huffman('should decode every byte', () => {
  const bytes = Buffer.from(ALL_BYTES, 'hex');
  assert.is(decodeHuffman(bytes, 0, bytes.length), Buffer.from([...Array(256).keys()]).toString('latin1'));
});

huffman('should decode a range of a buffer', () => {
  // `www.example.com`, RFC 7541 C.4.1
  const bytes = Buffer.from('00f1e3c2e5f23a6ba0ab90f4ff00', 'hex');
  assert.is(decodeHuffman(bytes, 1, 13), 'www.example.com');
  assert.is(decodeHuffman(bytes, 1, 1), '');
});

huffman('should take up to seven ones as padding, and nothing else', () => {
  // `0` is 00000, `&` is 11111000, `a` is 00011
  for (const [hex, text] of [
    ['07', '0'],
    ['f8', '&'],
    ['f81f', '&a'],
  ] as const) {
    assert.is(decodeHuffman(Buffer.from(hex, 'hex'), 0, hex.length / 2), text);
  }
  for (const hex of ['00', '06', '03', 'ff', '07ff', 'f8ff', '1fff', 'f81e', 'fe', 'fffffe']) {
    fails(() => decodeHuffman(Buffer.from(hex, 'hex'), 0, hex.length / 2), hex);
  }
});

huffman('should refuse an end of string', () => {
  for (const hex of ['ffffffff', '07ffffffff', 'fffffffc00']) {
    fails(() => decodeHuffman(Buffer.from(hex, 'hex'), 0, hex.length / 2), hex);
  }
});

const encoding = suite('hpack encoder');

encoding('should use the static table for what it has', () => {
  // every block says that no table is kept, for a peer that allows less than 4096 bytes of one
  for (const [fields, hex] of [
    [[], ''],
    [[':method', 'POST'], '83'],
    [[':path', '/'], '84'],
    [[':path', '/x'], '04022f78'],
    [['te', 'trailers'], '0002746508747261696c657273'],
    [['content-type', 'application/grpc'], '0f10106170706c69636174696f6e2f67727063'],
    [['www-authenticate', ''], 'bd'],
    [['', ''], '000000'],
    [['x', 'v'.repeat(127)], `000178 7f00${'76'.repeat(127)}`.replace(' ', '')],
    [['x', 'v'.repeat(255)], `0001787f8001${'76'.repeat(255)}`],
    [['x', '\xe4'], '00017801e4'],
  ] as const) {
    assert.is(encodeBlock(fields).toString('hex'), `20${hex}`, fields[0] ?? 'empty');
  }
});

encoding('should be decoded by its own decoder', () => {
  fc.assert(
    fc.property(fc.array(latin1(300), { maxLength: 20 }), texts => {
      const fields = texts.slice(0, texts.length & ~1);
      assert.equal(decodeBlock(encodeBlock(fields), MAX_BYTES), fields);
    }),
    { numRuns: 500 },
  );
});

/** Text of characters that are one byte each. */
function latin1(maxLength: number): fc.Arbitrary<string> {
  return fc.uint8Array({ maxLength }).map(bytes => Buffer.from(bytes).toString('latin1'));
}

// ---- the other implementation: nghttp2 in node:http2

const NAME_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~";
const name = fc
  .array(fc.constantFrom(...NAME_CHARS), { minLength: 1, maxLength: 40 })
  .map(chars => `x${chars.join('')}`);
/** What a field value may be: tab, space, visible ASCII and beyond, no blank at either end. */
const value = fc
  .array(
    fc.oneof(
      { weight: 5, arbitrary: fc.integer({ min: 0x20, max: 0x7e }) },
      { weight: 1, arbitrary: fc.integer({ min: 0x80, max: 0xff }) },
      { weight: 1, arbitrary: fc.constant(9) },
    ),
    { maxLength: 200 },
  )
  .map(codes => String.fromCharCode(...codes).replace(/^[\t ]+|[\t ]+$/g, ''));
const longValue = fc.tuple(value, fc.integer({ min: 1, max: 200 })).map(([text, n]) => `v${text}`.repeat(n).trimEnd());
/** Names of the static table that a response may have once. */
const KNOWN =
  `accept-ranges age allow cache-control content-disposition content-encoding content-language content-location
  content-range content-type etag expires last-modified link location refresh retry-after server set-cookie vary via
  www-authenticate strict-transport-security access-control-allow-origin proxy-authenticate`.split(/\s+/);
const fieldSet = fc.uniqueArray(
  fc.tuple(fc.oneof(name, fc.constantFrom(...KNOWN)), fc.oneof({ weight: 9, arbitrary: value }, longValue)),
  { maxLength: 30, selector: ([field]) => field },
);

/** Gives a client's stream to a node:http2 server, and its answer to the listener, again and again. */
async function withNodeServer(
  body: (
    exchange: (fields: Fields, answer: (stream: ServerHttp2Stream, request: Fields) => void) => Promise<Fields[]>,
  ) => Promise<void>,
  settings: Settings = {},
): Promise<void> {
  const path = socketPath();
  let onStream: (stream: ServerHttp2Stream, request: Fields) => void = () => {};
  const server = createServer({ settings, maxHeaderListPairs: 2000 });
  // the types of Node 16 lack the fourth
  const forward = (stream: ServerHttp2Stream, _headers: object, _flags: number, raw: Fields): void =>
    onStream(stream, raw);
  server.on('stream', forward as (stream: ServerHttp2Stream) => void);
  await new Promise<void>(done => server.listen(path, done));
  const { connection, opened } = openWatched(path);
  try {
    await opened();
    await body(async (fields, answer) => {
      onStream = answer;
      const heard = hear();
      const stream = connection.request(encodeBlock(fields), heard.listener);
      connection.write(stream, [], true);
      assert.is(await heard.closed(), undefined);
      return heard.sections;
    });
  } finally {
    connection.close();
    server.close();
  }
}

const REQUEST: Fields = [':method', 'POST', ':scheme', 'http', ':path', '/', ':authority', 'localhost'];

const interop = suite('hpack with node:http2');

interop('should decode whatever heads and trailers nghttp2 encodes', async () => {
  await withNodeServer(async exchange => {
    await fc.assert(
      fc.asyncProperty(
        // node:http2 sends no trailers after 204 and 304
        fc.constantFrom(200, 206, 299, 400, 404, 500, 599),
        fieldSet,
        fieldSet,
        fc.boolean(),
        async (status, head, trailers, isSensitive) => {
          const names = head.map(([field]) => field);
          const sections = await exchange(REQUEST, stream => {
            const fields: OutgoingHttpHeaders = Object.fromEntries(head);
            const hidden = isSensitive ? { [sensitiveHeaders]: names } : {};
            stream.respond({ ':status': status, ...fields, ...hidden }, {
              waitForTrailers: true,
              sendDate: false,
            } as object);
            stream.on('wantTrailers', () => stream.sendTrailers(Object.fromEntries(trailers)));
            stream.end();
          });
          assert.equal(sections[0], [':status', String(status), ...head.flat()]);
          assert.equal(sections[1] ?? [], trailers.flat());
        },
      ),
      { numRuns: 300 },
    );
  });
});

interop('should decode a field that occurs often, in order', async () => {
  await withNodeServer(async exchange => {
    const cookies = [...Array(50).keys()].map(i => `c${i}=${'v'.repeat(i)}`);
    const [head] = await exchange(REQUEST, stream => {
      stream.respond({ 'set-cookie': cookies }, { endStream: true, sendDate: false } as object);
    });
    assert.equal(head, [':status', '200', ...cookies.flatMap(cookie => ['set-cookie', cookie])]);
  });
});

interop('should encode whatever nghttp2 decodes', async () => {
  await withNodeServer(async exchange => {
    const bare = fieldSet.map(fields => fields.flat());
    await fc.assert(
      fc.asyncProperty(bare, fc.constantFrom('/', '/index.html', '/a?b=c'), async (fields, path) => {
        const request = [':method', 'POST', ':scheme', 'http', ':path', path, ':authority', 'localhost', ...fields];
        // one HEADERS frame is all that a request has
        fc.pre(encodeBlock(request).length <= 16_384);
        const got = deferred<Fields>();
        await exchange(request, (stream, raw) => {
          got.resolve(raw);
          stream.respond({}, { endStream: true });
        });
        assert.equal(await within(5000, got.promise, 'a request'), request);
      }),
      { numRuns: 200 },
    );
  });
});

interop('should be decoded by a server that allows a smaller table than the default, or none', async () => {
  for (const headerTableSize of [0, 1, 4095]) {
    await withNodeServer(
      async exchange => {
        for (let i = 0; i < 3; i++) {
          const got = deferred<Fields>();
          await exchange([...REQUEST, 'x-a', `${i}`], (stream, raw) => {
            got.resolve(raw);
            stream.respond({}, { endStream: true });
          });
          assert.equal(await within(5000, got.promise, 'a request'), [...REQUEST, 'x-a', `${i}`]);
        }
      },
      { headerTableSize },
    );
  }
});

decoding.run();
huffman.run();
encoding.run();
interop.run();
