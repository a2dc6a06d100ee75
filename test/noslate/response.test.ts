import * as assert from 'uvu/assert';
import { createMessageReader } from '../../src/grpc/message.ts';
import { ResponseReader } from '../../src/noslate/response.ts';
import { suite } from '../helpers.ts';
import { encode } from '../planes/protocol.ts';

interface Heard {
  events: string[];
  body: string;
  /** Bytes given back, prefixes included. */
  consumed: number;
  /** The longest piece of a body. */
  longest: number;
}

/** Has bytes read in pieces that end at these places. */
function read(bytes: Buffer, cuts: readonly number[]): Heard {
  const heard: Heard = { events: [], body: '', consumed: 0, longest: 0 };
  const sink = new ResponseReader(
    {
      onHead: (status, headers) => heard.events.push(`head ${status} ${headers}`),
      onBody(piece) {
        heard.body += piece;
        heard.longest = Math.max(heard.longest, piece.length);
      },
      onError: error => heard.events.push(`error ${error.name} ${error.message || error.code}`),
    },
    count => {
      heard.consumed += count;
    },
  );
  const messages = createMessageReader(sink);
  let from = 0;
  for (const to of [...cuts, bytes.length]) {
    const prefixes = messages.read(bytes.subarray(from, to));
    heard.consumed += prefixes;
    from = to;
  }
  return heard;
}

function message(fields: object): Buffer {
  const bytes = encode('noslated.data.InvokeResponse', fields);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

const bodyOf = (text: string): Buffer => message({ result: { body: Buffer.from(text) } });
const HEAD = message({ result: { status: 201, headers: [{ key: 'k', value: 'v' }] } });
const ERROR = message({ error: { name: 'Error', message: 'x', code: 8 } });
const LONG = 'long '.repeat(50);

const responses = suite('response');

responses('should be the same wherever its messages are cut', () => {
  const bytes = Buffer.concat([HEAD, bodyOf('one'), bodyOf(''), bodyOf(LONG), bodyOf('end'), ERROR]);
  const body = `one${LONG}end`;
  const events = ['head 201 k,v', 'error Error x'];
  const check = (cuts: readonly number[]): void => {
    const heard = read(bytes, cuts);
    assert.equal([heard.events, heard.body], [events, body]);
    // what is not handed on is given back
    assert.is(heard.consumed + heard.body.length, bytes.length);
  };
  for (let at = 1; at < bytes.length; at++) check([at]);
  for (let at = 1; at < bytes.length - 3; at++) check([at, at + 1, at + 3]);
  check([...bytes.keys()].slice(1));
});

responses('should hand on a large body in the pieces that it came in', () => {
  const bytes = Buffer.concat([HEAD, bodyOf('b'.repeat(100_000))]);
  const cuts = Array.from({ length: Math.floor(bytes.length / 1000) }, (_, i) => (i + 1) * 1000);
  const heard = read(bytes, cuts);
  assert.is(heard.body.length, 100_000);
  assert.ok(heard.longest <= 1000);
});

responses('should take a body beside the head, and what comes with a body', () => {
  const both = message({ result: { status: 200, body: Buffer.from('beside') } });
  assert.equal([read(both, []).events, read(both, []).body], [['head 200 '], 'beside']);
  const late = message({ result: { status: 500, body: Buffer.from('more') } });
  const heard = read(Buffer.concat([both, late]), []);
  assert.equal([heard.events, heard.body], [['head 200 '], 'besidemore']);
});

/** Fields by their bytes, with a prefix: what no encoder of ours would write. */
function raw(hex: string): Buffer {
  const bytes = Buffer.from(hex, 'hex');
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

responses('should be what the planes send', () => {
  // the golden vectors of the Noslate contract, §2
  const heard = read(
    Buffer.concat(['120b08c80112060a016b120176', '12041a026869', '0a0c0a054572726f721201783805'].map(raw)),
    [],
  );
  assert.equal([heard.events, heard.body], [['head 200 k,v', 'error Error x'], 'hi']);
});

responses('should give back all but the body, which its reader does, wherever in a message it is', () => {
  const body = 'b'.repeat(70_000);
  for (const bytes of [
    message({ result: { status: 200, headers: [{ key: 'k', value: 'v' }], body: Buffer.from(body) } }),
    Buffer.concat([
      HEAD,
      message({ result: { status: 500, headers: [{ key: 'k', value: 'w' }], body: Buffer.from(body) } }),
    ]),
  ]) {
    for (const step of [1, 16_384]) {
      const cuts = Array.from({ length: Math.floor((bytes.length - 1) / step) }, (_, i) => (i + 1) * step);
      const heard = read(bytes, cuts);
      assert.match(heard.events.join(), /^head 20[01] k,v$/);
      assert.is(heard.body, body);
      assert.is(heard.consumed, bytes.length - body.length);
    }
  }
});

responses('should hand on a head as soon as the body behind it begins', () => {
  const bytes = message({ result: { status: 202, body: Buffer.alloc(9 * 1024 * 1024) } });
  const heard = read(bytes.subarray(0, 30), []);
  assert.equal([heard.events, heard.body.length], [['head 202 '], 30 - (bytes.length - 9 * 1024 * 1024)]);
});

responses('should pass over what it does not know, of any size, and hold none of it', () => {
  // field 9 of the message and field 8 of the result, 4 MiB each, and one of each other type
  const huge = '80808002';
  const zeros = '00'.repeat(4 * 1024 * 1024);
  const others = ['6801', `71${'00'.repeat(8)}`, '7d00000000', '7a0161'].join('');
  const inner = `08c801${others}42${huge}${zeros}1a0162${others}`;
  const result = Buffer.alloc(5);
  let rest = inner.length / 2;
  let size = 0;
  for (; rest >= 0x80; rest >>>= 7) result[size++] = (rest & 0x7f) | 0x80;
  result[size++] = rest;
  const bytes = raw(`${others}4a${huge}${zeros}12${result.toString('hex', 0, size)}${inner}${others}`);
  for (const step of [3, 65_536]) {
    const cuts = Array.from({ length: Math.floor((bytes.length - 1) / step) }, (_, i) => (i + 1) * step);
    const heard = read(bytes, cuts);
    assert.equal([heard.events, heard.body], [['head 200 '], 'b']);
    assert.is(heard.consumed, bytes.length - 1);
  }
});

responses('should take no head that FC would not, and no error of any size', () => {
  const large = message({ result: { status: 200, headers: [{ key: 'k', value: 'v'.repeat(9 * 1024 * 1024) }] } });
  const many = message({ result: { status: 200, headers: Array(20_000).fill({ key: 'k', value: 'v' }) } });
  for (const bytes of [large, many]) {
    const heard = read(bytes, [100, 20_000]);
    assert.equal(heard.events, ["error GatewayError the function's headers: expected at most 65536 bytes"]);
  }
  const thrown = read(message({ error: { name: 'Error', message: 'm'.repeat(2 * 1024 * 1024), code: 1 } }), []);
  assert.equal(thrown.events, ['error NoslatedError error of 2097166 bytes']);
  const long = read(message({ error: { name: 'Error', message: 'm'.repeat(1000 * 1024), code: 1 } }), [5, 500_000]);
  assert.is(long.events.join().length, 'error Error '.length + 1000 * 1024);
});

responses('should fail for bytes that are no message, and read no further', () => {
  for (const hex of [
    '',
    '4801',
    '00',
    '0208',
    '12',
    '1205',
    '120308',
    '12020880',
    '12021a05',
    `08${'ff'.repeat(10)}01`,
    '0b0c',
    '1302',
    '0aff',
    '12030a0178ff',
    '0a020a05',
    '120412020a05',
    // values that are longer than what they are in
    '12031a05616161',
    '1203120561',
    '12037900',
  ]) {
    const bytes = Buffer.concat([raw(hex), HEAD, bodyOf('late')]);
    const { events, body } = read(bytes, []);
    assert.match(events[0] ?? '', /^error GrpcError 13 INTERNAL: InvokeResponse: /, hex);
    assert.equal([events.length, body], [1, ''], hex);
    for (let at = 1; at < bytes.length; at++) assert.equal(read(bytes, [at]).events, events, hex);
  }
});

responses('should fail for what is neither result nor error, and for what makes no sense', () => {
  const neither = read(message({}), []);
  assert.equal(neither.events, ['error GrpcError 13 INTERNAL: InvokeResponse: neither result nor error']);
  const junk = read(Buffer.from([0, 0, 0, 0, 2, 0x12, 0x7f]), []);
  assert.is(junk.events.length, 1);
  assert.match(junk.events[0] as string, /^error GrpcError 13 INTERNAL: InvokeResponse: /);
});

responses.run();
