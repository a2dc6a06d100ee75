import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as assert from 'uvu/assert';
import { createRecord } from '../../../../src/desk/fc/record.ts';
import { curlOf } from '../../../../src/desk/view/console/curl.ts';
import { read, suite, within, without } from '../../../helpers.ts';

const curl = suite('curl of a call', { skip: without('curl', 'curl') });

/** What a server gets when a shell runs the line. */
async function made(
  sent: { method: string; path: string; headers: [string, string][] },
  body: Buffer,
  kind: 'http' | 'event' = 'http',
): Promise<{ line: string; request: string; headers: string; body: Buffer }> {
  let heard: { request: string; headers: string; body: Buffer } = { request: '', headers: '', body: Buffer.alloc(0) };
  const server = createServer(async (req, res) => {
    const { method, url, rawHeaders } = req;
    heard = { request: `${method} ${url}`, headers: rawHeaders.join('\n'), body: await read(req) };
    res.end('ok');
  });
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const record = createRecord(sent, 1024);
  record.requestBody.add(body);
  const line = curlOf({ kind }, record, { url, invoke: `${url}/invocations` });
  try {
    const run = new Promise<void>((done, fail) => {
      execFile('/bin/sh', ['-c', `${line} -sS`], error => (error === null ? done() : fail(error)));
    });
    await within(20_000, run, line);
  } finally {
    server.close();
  }
  return { line, ...heard };
}

curl('should make the same request again', async () => {
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD']) {
    const { request } = await made({ method, path: '/a?b=c&d=%20e', headers: [] }, Buffer.alloc(0));
    assert.is(request, `${method} /a?b=c&d=%20e`);
  }
});

curl('should keep a body to the byte, whatever is in it', async () => {
  const bodies = [
    'a',
    "it's",
    '@/etc/passwd',
    '$HOME `id` "x" \\',
    'a\nb\n',
    '{"ä":"你"}',
    '-x',
    ' ',
    '\r\n\t',
    'a&b=c%20',
  ];
  for (const text of bodies) {
    const { body, headers } = await made({ method: 'POST', path: '/', headers: [] }, Buffer.from(text));
    assert.is(String(body), text);
    assert.not.match(headers, /content-type/i);
  }
  for (const bytes of [Buffer.from([0, 1, 255]), Buffer.from([0xc3, 0x28]), Buffer.from('a\0b')]) {
    const { body } = await made({ method: 'PUT', path: '/', headers: [] }, bytes);
    assert.equal(body, bytes);
  }
});

curl('should keep headers, without secrets and what is of the connection', async () => {
  const headers: [string, string][] = [
    ['Content-Type', 'text/plain; charset="x"'],
    ["X-It's", "it's $HOME"],
    ['X-Empty', ''],
    ['Cookie', 'canary'],
    ['Host', 'elsewhere'],
    ['Content-Length', '99'],
    ['Transfer-Encoding', 'chunked'],
    ['Connection', 'close'],
  ];
  const { headers: got, line } = await made({ method: 'POST', path: '/', headers }, Buffer.from('a'));
  for (const text of ['Content-Type\ntext/plain; charset="x"', "X-It's\nit's $HOME", 'X-Empty\n', 'Cookie\n***']) {
    assert.ok(got.includes(text), `${text} in ${got}`);
  }
  assert.not.match(got, /elsewhere|99|chunked|close/);
  assert.not.match(line, /canary/);
});

curl('should make an event by InvokeFunction', async () => {
  for (const payload of ['{"amount":20}', '']) {
    const sent = { method: 'POST', path: '/invoke', headers: [] };
    const { request, body } = await made(sent, Buffer.from(payload), 'event');
    assert.equal([request, String(body)], ['POST /invocations', payload]);
  }
});

curl.run();
