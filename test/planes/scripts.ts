import { Readable } from 'node:stream';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { TriggerResponse } from '../../src/agent.ts';
import { planeError, triggerError } from './errors.ts';
import type { InvokeRequest, InvokeResponse } from './messages.ts';
import { resetStream, socketOf, streamOf } from './server.ts';

export type InvokeCall = ServerDuplexStream<InvokeRequest, InvokeResponse>;

/** Answers like a function, or does something to the call itself and never settles. */
type Script = (
  request: { url: string; body: Readable },
  call: InvokeCall,
  argument: string,
) => Promise<TriggerResponse>;

const CHUNK = 64 * 1024;

const text = (body: string | Readable): TriggerResponse => ({
  status: 200,
  headers: ['content-type', 'text/plain'],
  body: typeof body === 'string' ? Readable.from([Buffer.from(body)]) : body,
});

const head: InvokeResponse = { result: { status: 200, headers: [{ key: 'content-type', value: 'text/plain' }] } };
const part: InvokeResponse = { result: { body: Buffer.from('part') } };

const never = new Promise<TriggerResponse>(() => {});

/** Functions that need no worker and no profile, by name. What follows a name's `/` is its argument. */
const SCRIPTS: Readonly<Record<string, Script>> = {
  /** Head at once, then the body's chunks as they come. */
  '@echo': async ({ body }) => text(body),

  /** Number of bytes, when all have come. */
  '@sink': async ({ body }) => {
    let bytes = 0;
    for await (const chunk of body) bytes += chunk.length;
    return text(String(bytes));
  },

  /** url `/BYTES` or `/BYTES/CHUNK`: so many zeros, 64 KiB or CHUNK per message. */
  '@source': async ({ url }) => {
    const [, bytes = '0', chunk = CHUNK] = url.split('/');
    return text(Readable.from(zeros(Number(bytes), Number(chunk))));
  },

  '@hello': async () => text('hello'),

  '@hang': () => never,

  /** Error before the head, and nothing after it. */
  '@error': async () => {
    throw triggerError(1, 'INTERNAL_ERROR', 'scripted failure', 'Error: scripted failure\n    at script');
  },

  /** Head, one chunk, error, end with status 0. */
  '@error-after': async () => text(Readable.from(failing())),

  /** Head, one chunk, and the connection is cut. */
  '@half': (_, call) => {
    call.write(head);
    // written is not sent: the next turn
    call.write(part, () => setImmediate(() => socketOf(streamOf(call))?.destroy()));
    return never;
  },

  /** The process dies. */
  '@exit': () => {
    process.kill(process.pid, 'SIGKILL');
    return never;
  },

  /** Head and one chunk, then END_STREAM on its own; with url `/rst` an RST_STREAM with NO_ERROR. */
  '@no-trailers': ({ url }, call) => {
    const stream = streamOf(call);
    call.write(head);
    call.write(part, () => {
      if (url === '/rst') {
        resetStream(stream);
        return;
      }
      // an empty trailer section goes out as an empty DATA frame
      stream.once('wantTrailers', () => stream.sendTrailers({}));
      stream.end();
    });
    return never;
  },

  /** Trailers only, with the argument as grpc-status. */
  '@status': (_, call, argument) => {
    const code = Number(argument);
    if (code === 0) call.end();
    else call.emit('error', Object.assign(new Error(), { code, details: `scripted status ${code}` }));
    return never;
  },
};

/** Finds the script of a function's name. */
export function scriptOf(
  name: string,
  call: InvokeCall,
): ((url: string, body: Readable) => Promise<TriggerResponse>) | undefined {
  const [key = '', argument = ''] = name.split('/');
  const script = SCRIPTS[key];
  return script && ((url, body) => script({ url, body }, call, argument));
}

async function* zeros(bytes: number, size: number): AsyncGenerator<Buffer> {
  const chunk = Buffer.alloc(size);
  for (let left = bytes, i = 1; left > 0; left -= size, i++) {
    yield left < size ? chunk.subarray(0, left) : chunk;
    // lets the loop send, where nobody waits for the reader
    if (i % 16 === 0) await new Promise(done => setImmediate(done));
  }
}

async function* failing(): AsyncGenerator<Buffer> {
  yield Buffer.from('part');
  throw planeError('peer reset stream');
}
