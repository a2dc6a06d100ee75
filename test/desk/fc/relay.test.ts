import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough, type Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import { FcError } from '../../../src/desk/fc/answers.ts';
import { ClientGone } from '../../../src/desk/fc/call.ts';
import { type HeaderPairs, header } from '../../../src/desk/fc/headers.ts';
import { LIMITS } from '../../../src/desk/fc/limits.ts';
import {
  answerHeaders,
  download,
  eventHeaders,
  objection,
  readAnswer,
  readable,
  triggerHeaders,
  upload,
} from '../../../src/desk/fc/relay.ts';
import { type FunctionOptions, functionSettings } from '../../../src/desk/fc/settings.ts';
import { deferred, read, suite, within } from '../../helpers.ts';

const relay = suite('relay');

const settingsOf = (options: Partial<FunctionOptions> = {}) => functionSettings({ command: ['none'], ...options });

/** Runs a test's body with a container's response, as it comes over a connection. */
async function withResponse(
  respond: (res: ServerResponse) => void,
  body: (response: IncomingMessage) => Promise<void> | void,
): Promise<void> {
  const server = createServer((_, res) => respond(res));
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const outgoing = request({ port, host: '127.0.0.1' });
  outgoing.on('error', () => {});
  try {
    const head = new Promise<IncomingMessage>(done => outgoing.on('response', done).end());
    const response = await within(5000, head, 'a response');
    response.on('error', () => {});
    await body(response);
  } finally {
    outgoing.destroy();
    server.close();
  }
}

const ending = (body: Readable): Promise<unknown> =>
  within(
    5000,
    read(body).then(
      bytes => bytes.toString(),
      error => error,
    ),
    'the end of a body',
  );

const ignore = (): void => {};

const codeOf = (error: unknown): unknown => (error instanceof FcError ? error.code : error);

relay('should send what a container is to see, and nothing that a client forges', () => {
  const settings = settingsOf();
  const event = eventHeaders(settings, 'r', 1234, 5, 2);
  assert.equal(
    ['host', 'content-length', 'x-fc-control-path', 'x-fc-retry-count', 'x-fc-request-id'].map(name =>
      header(event, name),
    ),
    ['21.0.0.1:1234', '5', '/invoke', '2', 'r'],
  );
  const headers: HeaderPairs = [
    ['X-Fc-Request-Id', 'forged'],
    ['X-Own', '1'],
  ];
  const call = { method: 'POST', path: '/a?b', headers };
  const trigger = triggerHeaders(settings, 'r', call, true, 0);
  assert.equal(
    ['host', 'transfer-encoding', 'x-own', 'x-fc-request-id', 'x-fc-base-path'].map(name => header(trigger, name)),
    ['app-abcdefghij.cn-hangzhou.fcapp.run', 'chunked', '1', 'r', '/a'],
  );
  const measured = { ...call, headers: [...headers, ['Content-Length', '3'], ['Host', 'own']] as const };
  const own = triggerHeaders(settings, 'r', measured, true, 0);
  assert.equal([header(own, 'transfer-encoding'), header(own, 'host')], [undefined, 'own']);
});

relay('should take an upload up to the limit, and leave the rest unread', async () => {
  assert.is((await read(upload(readable(Buffer.alloc(LIMITS.syncBody)), ignore))).length, LIMITS.syncBody);
  const source = new PassThrough();
  const body = upload(source, ignore);
  source.write(Buffer.alloc(LIMITS.syncBody + 1));
  assert.is(codeOf(await ending(body)), 'EntityTooLarge');
  assert.not.ok(source.destroyed, 'its connection still has to carry the answer');
});

relay('should tell an upload that breaks off from one that ends', async () => {
  const source = new PassThrough();
  const body = upload(source, ignore);
  source.write('half');
  source.destroy(new Error('reset'));
  assert.instance(await ending(body), ClientGone);
});

relay('should read an event’s answer whole, up to a limit', async () => {
  const limited = settingsOf({ switches: { maxResponse: 4 } });
  assert.is((await readAnswer(limited, readable(Buffer.from('four')), ignore)).toString(), 'four');
  const over = await readAnswer(limited, readable(Buffer.from('fives')), ignore).catch(error => error);
  assert.is(codeOf(over), 'ResponseTooLarge');
});

relay('should pass a download on, and break it where the container broke off or goes on for too long', async () => {
  const none = (): void => assert.unreachable('nobody has left');
  await withResponse(
    res => res.end('whole'),
    async response => {
      assert.is(await ending(download(settingsOf(), response, undefined, none, ignore)), 'whole');
    },
  );
  for (const clientCancel of ['reset', 'finish'] as const) {
    await withResponse(
      res => res.write('half', () => res.destroy()),
      async response => {
        const settings = settingsOf({ switches: { clientCancel } });
        assert.instance(await ending(download(settings, response, undefined, none, ignore)), Error);
      },
    );
  }
  await withResponse(
    res => res.end('12345'),
    async response => {
      const settings = settingsOf({ switches: { maxResponse: 4 } });
      assert.match(String(await ending(download(settings, response, undefined, none, ignore))), 'more than 4 bytes');
    },
  );
});

relay('should tell of a caller who leaves a download, and read on for nobody where that is switched', async () => {
  for (const [clientCancel, isDestroyed] of [
    ['reset', true],
    ['finish', false],
  ] as const) {
    const more = deferred();
    await withResponse(
      res => {
        res.write('first');
        more.promise.then(() => res.end('last'));
      },
      async response => {
        const left = deferred();
        const body = download(settingsOf({ switches: { clientCancel } }), response, undefined, left.resolve, ignore);
        await within(5000, new Promise(done => body.once('data', done)), 'the first bytes');
        const closed = new Promise(done => response.once('close', done));
        body.destroy();
        await within(5000, left.promise, 'that he has left');
        more.resolve();
        await within(5000, closed, 'the end of the response');
        assert.is(response.complete, !isDestroyed);
      },
    );
  }
});

relay('should keep from the caller what is FC’s own, and add what FC adds', async () => {
  await withResponse(
    res => {
      res.setHeader('X-Own', '1');
      res.setHeader('X-Fc-Status', '404');
      res.setHeader('Content-Length', '2');
      res.end('ok');
    },
    response => {
      const call = { method: 'GET', path: '/', headers: [['Origin', 'https://a.example']] as const };
      const headers = answerHeaders(settingsOf({ domain: 'default' }), 'r', call, response);
      const of = (name: string): string | undefined => header(headers, name);
      assert.equal(
        [of('x-own'), of('x-fc-status'), of('content-length'), of('date')],
        ['1', undefined, '2', undefined],
      );
      assert.equal([of('x-fc-request-id'), of('content-disposition')], ['r', 'attachment']);
      assert.is(of('access-control-allow-origin'), 'https://a.example');
    },
  );
});

relay('should object to a response that FC does not pass on', async () => {
  const objecting = async (
    res: (res: ServerResponse) => unknown,
    options: Partial<FunctionOptions>,
  ): Promise<unknown> => {
    let problem: unknown;
    await withResponse(
      one => {
        res(one);
        one.end();
      },
      response => {
        problem = codeOf(objection(settingsOf(options), response));
      },
    );
    return problem;
  };
  assert.is(await objecting(res => res.setHeader('X-Own', '1'), {}), undefined);
  assert.is(await objecting(res => res.setHeader('X-Own', 'a'.repeat(8200)), {}), 'BadResponse');
  const reject = { switches: { reservedHeaders: 'reject' } } as const;
  assert.is(await objecting(res => res.setHeader('X-Fc-Own', '1'), reject), 'InvalidResponse');
  assert.is(await objecting(res => res.writeHead(302), { domain: 'default' }), 'ExternalRedirectForbidden');
  assert.is(await objecting(res => res.writeHead(304), { domain: 'default' }), undefined);
});

relay.run();
