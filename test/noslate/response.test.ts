import * as assert from 'uvu/assert';
import { createMessageReader } from '../../src/grpc/message.ts';
import { createResponseReader } from '../../src/noslate/response.ts';
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
  const sink = createResponseReader(
    {
      onHead: (status, headers) => heard.events.push(`head ${status} ${headers}`),
      onBody(piece) {
        heard.body += piece;
        heard.longest = Math.max(heard.longest, piece.length);
      },
      onError: ({ name, message = '', code }) => heard.events.push(`error ${name} ${message || code}`),
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

responses('should fail for what is neither result nor error, and for what makes no sense', () => {
  const neither = read(message({}), []);
  assert.equal(neither.events, ['error GrpcError 13 INTERNAL: InvokeResponse: neither result nor error']);
  const junk = read(Buffer.from([0, 0, 0, 0, 2, 0x12, 0x7f]), []);
  assert.is(junk.events.length, 1);
  assert.match(junk.events[0] as string, /^error GrpcError 13 INTERNAL: InvokeResponse: /);
});

responses.run();
