// What the bench itself asks of a target, a single request at a time.
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { within } from './process.mjs';

/** Longest wait for a port or for the head of an answer, ms, and for a gibibyte. */
const ANSWER_MS = 20_000;
const TRANSFER_MS = 120_000;

/** Between two tries to connect, ms: more would be seen in the result, less would take the target's time. */
const TRY_MS = 1;

/** Resolves with a connection as soon as a port of the loopback, or a socket's file, accepts one. */
export function accepted(where) {
  const attempt = () =>
    new Promise((done, fail) => {
      const socket = connect(typeof where === 'number' ? { port: where, host: '127.0.0.1' } : { path: where });
      socket.setNoDelay();
      socket.on('connect', () => done(socket));
      socket.on('error', fail);
    });
  const work = async () => {
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        if (error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT') throw error;
        await sleep(TRY_MS);
      }
    }
  };
  return within(ANSWER_MS, work(), `${where} to accept`);
}

/** Sends a request over a new connection, or over `socket`, and resolves with the head of the answer. */
export function open(port, { method = 'POST', path = '/', headers = {}, body, socket }) {
  const answer = new Promise((done, fail) => {
    const via = socket === undefined ? { agent: new Agent() } : { createConnection: () => socket };
    const outgoing = request({ host: '127.0.0.1', port, method, path, headers, ...via });
    outgoing.on('response', done);
    outgoing.on('error', fail);
    if (body instanceof Readable) body.pipe(outgoing);
    else outgoing.end(body);
  });
  return within(TRANSFER_MS, answer, `an answer to ${method}`);
}

/** Reads an answer of status 200 to its end and resolves with its bytes, which it does not keep. */
export async function drain(response, stallMs = 0) {
  if (response.statusCode !== 200) throw new Error(`expected status 200, got ${response.statusCode}`);
  let bytes = 0;
  const end = new Promise((done, fail) => {
    response.on('end', done);
    response.on('error', fail);
  });
  // not a byte is taken meanwhile
  await sleep(stallMs);
  response.on('data', chunk => (bytes += chunk.length));
  await within(TRANSFER_MS, end, 'the end of an answer');
  return bytes;
}

/** Reads an answer of status 200 as text. */
export async function text(response) {
  if (response.statusCode !== 200) throw new Error(`expected status 200, got ${response.statusCode}`);
  const chunks = [];
  for await (const chunk of response) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** A body of so many zeros, which are made as they are taken. */
export function zeros(bytes) {
  const chunk = Buffer.alloc(64 * 1024);
  let left = bytes;
  return new Readable({
    read() {
      this.push(left > 0 ? chunk.subarray(0, left) : null);
      left -= chunk.length;
    },
  });
}

/** Sends a body, over a new connection or over `socket`, and fails unless the same comes back. */
export async function expectEcho(port, body, socket) {
  const response = await open(port, {
    headers: { 'content-type': 'text/plain', 'content-length': body.length },
    body,
    socket,
  });
  const got = await text(response);
  if (got !== String(body))
    throw new Error(`expected an echo of ${body.length} bytes, got ${got.length}: ${got.slice(0, 80)}`);
}
