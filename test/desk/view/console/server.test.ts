import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import { createLife, is } from '../../../../src/desk/fc/life.ts';
import type { Platform } from '../../../../src/desk/fc/platform.ts';
import { createPlatform } from '../../../../src/desk/fc/platform.ts';
import type { FunctionOptions } from '../../../../src/desk/fc/settings.ts';
import type { CallRow, InstanceRow } from '../../../../src/desk/view/console/api.ts';
import { MOST_BODY } from '../../../../src/desk/view/console/calls.ts';
import { eventually, NOT_LINUX, suite, within } from '../../../helpers.ts';
import { platformOf } from '../../fc/server.ts';
import { type Opened, openDesk, PAGE } from './desk.ts';

const server = suite('console', { skip: NOT_LINUX });

/** Runs a test's body with a console over a platform, and leaves nothing behind. */
async function withDesk(
  environment: Record<string, string>,
  options: Partial<FunctionOptions>,
  body: (desk: Opened, fc: Platform) => Promise<void>,
): Promise<void> {
  const { command } = platformOf(environment, options).settings;
  const fc = createPlatform({ timeout: 10, ...options, command, environment }, createLife(), MOST_BODY);
  const desk = await openDesk(fc);
  try {
    await body(desk, fc);
  } finally {
    desk.close();
    for (const instance of fc.instances()) instance.thaw();
    await fc.stop();
  }
}

const done =
  (id: string) =>
  (batch: { calls: readonly CallRow[] }): boolean =>
    batch.calls.some(call => call.id === id && call.isDone);

const ofPhase =
  (phase: string) =>
  (batch: { instances: readonly InstanceRow[] }): boolean =>
    batch.instances.some(instance => instance.phase === phase);

server('should give the page, which may run its own code alone', async () => {
  await withDesk({}, {}, async desk => {
    const { status, headers, text } = await desk.json('/');
    assert.equal([status, text, headers['content-type']], [200, PAGE, 'text/html; charset=utf-8']);
    const policy = String(headers['content-security-policy']);
    const hash = (code: string): string => `'sha256-${createHash('sha256').update(code).digest('base64')}'`;
    assert.ok(policy.includes(`script-src ${hash('1')};`), policy);
    assert.ok(policy.includes(`style-src ${hash('body{}')};`), policy);
    assert.match(policy, /^default-src 'none'; .*frame-ancestors 'none'$/);
    assert.equal([headers['x-frame-options'], headers['cache-control']], ['DENY', 'no-store']);
  });
});

server('should refuse whatever comes by another name, or from another page', async () => {
  await withDesk({}, {}, async (desk, fc) => {
    const own = `localhost:${desk.port}`;
    const json = { 'content-type': 'application/json' };
    const body = '{"kind":"event"}';
    const foreign: Record<string, string>[] = [
      { host: `evil.example:${desk.port}` },
      { host: `127.0.0.1.evil.example:${desk.port}` },
      { host: `localhost:${desk.port + 1}` },
      { host: 'localhost' },
      { host: `0.0.0.0:${desk.port}` },
      { host: own, origin: 'http://evil.example' },
      { host: own, origin: `https://${own}` },
      { host: own, origin: 'null' },
      { host: own, origin: `http://localhost:${desk.port + 1}` },
      { host: own, 'sec-fetch-site': 'cross-site' },
      { host: own, 'sec-fetch-site': 'same-site' },
      { host: own, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' },
    ];
    for (const headers of foreign) {
      for (const path of ['/', '/api/events', '/api/costs']) {
        const { status, body: refusal } = await desk.ask({ path, headers });
        assert.is(status, 403, `${path} ${JSON.stringify(headers)}`);
        assert.match(refusal.error, /expected/);
      }
      const sent = { method: 'POST', path: '/api/send', headers: { ...headers, ...json }, body };
      assert.is((await desk.ask(sent)).status, 403);
      const linked = { ...headers, 'sec-fetch-mode': 'navigate' };
      if (headers['sec-fetch-site'] !== undefined)
        assert.is((await desk.ask({ path: '/', headers: linked })).status, 200);
    }
    const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' };
    assert.is((await desk.ask({ method: 'POST', path: '/api/send', headers: { ...link, ...json }, body })).status, 403);
    for (const host of [own, `127.0.0.1:${desk.port}`, `[::1]:${desk.port}`, `LOCALHOST:${desk.port}`]) {
      const headers = { host, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' };
      assert.is((await desk.ask({ path: '/api/costs', headers })).status, 200, host);
    }
    // what a form of another page could send
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', '']) {
      const headers = type === '' ? {} : { 'content-type': type };
      assert.is((await desk.ask({ method: 'POST', path: '/api/send', headers, body })).status, 415, type);
    }
    assert.is(fc.life.events.length, 0, 'nothing has been called');
  });
});

server('should refuse what it does not know, naming what was expected', async () => {
  await withDesk({}, {}, async desk => {
    const refused = async (path: string, body: unknown): Promise<[number, string]> => {
      const { status, body: refusal } = await desk.post(path, body);
      return [status, refusal.error];
    };
    const http = { kind: 'http', method: 'GET', path: '/' };
    const cases: [string, unknown, number, RegExp][] = [
      ['/api/send', [], 400, /^body: expected an object$/],
      ['/api/send', null, 400, /^body: expected an object$/],
      ['/api/send', {}, 400, /^kind: expected http or event$/],
      ['/api/send', { ...http, method: 'GE T' }, 400, /^method: expected a method of HTTP, got "GE T"$/],
      ['/api/send', { ...http, method: 'CONNECT' }, 400, /^method: expected/],
      ['/api/send', { ...http, path: 'http://elsewhere/' }, 400, /^path: expected a path that starts with "\/"/],
      ['/api/send', { ...http, path: '/a b' }, 400, /^path: expected/],
      ['/api/send', { ...http, path: '/a\r\nx: y' }, 400, /^path: expected/],
      ['/api/send', { ...http, headers: [['a']] }, 400, /^headers\[0\]: expected a name and a value$/],
      ['/api/send', { ...http, headers: [['a b', 'c']] }, 400, /^headers: expected a header's name, got "a b"$/],
      ['/api/send', { ...http, headers: [['a', 'b\r\nc: d']] }, 400, /^headers: expected the value of a without/],
      ['/api/send', { ...http, headers: [['a', '\u4f60']] }, 400, /^headers: expected the value of a without/],
      ['/api/send', { ...http, body: { text: 1 } }, 400, /^body\.text: expected text$/],
      ['/api/send', { ...http, isAsync: 'yes' }, 400, /^isAsync: expected true or false$/],
      ['/api/scale', { count: -1 }, 400, /^count: expected a whole number from 0 to 100$/],
      ['/api/scale', { count: 1.5 }, 400, /^count:/],
      ['/api/scale', { count: 101 }, 400, /^count:/],
      ['/api/scale', {}, 400, /^count:/],
      ['/api/instances/c-1/freeze', {}, 404, /^instance c-1: expected one that is running/],
      ['/api/calls/1-a/replay', {}, 404, /^call 1-a: there is none/],
      ['/api/nothing', {}, 404, /^\/api\/nothing: there is no such thing$/],
      ['/api/costs', {}, 405, /^POST: expected GET$/],
    ];
    for (const [path, body, status, error] of cases) {
      const [code, text] = await refused(path, body);
      assert.is(code, status, `${path} ${JSON.stringify(body)} ${text}`);
      assert.match(text, error);
    }
    const broken = { method: 'POST', path: '/api/send', headers: { 'content-type': 'application/json' }, body: '{' };
    assert.match((await desk.ask(broken)).body.error, /^body: expected JSON: /);
    assert.is((await desk.json('/api/calls/%zz')).status, 400);
    assert.is((await desk.json('/api/instances/c-1/log')).status, 404);
  });
});

server('should not take more than FC would, and outlive who breaks off', async () => {
  await withDesk({}, {}, async desk => {
    const head = (length: number): string =>
      `POST /api/send HTTP/1.1\r\nHost: localhost:${desk.port}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;
    const socket = connect(desk.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(`${head(100)}{"kind"`, () => socket.destroy());
    const large = connect(desk.port, '127.0.0.1');
    large.on('error', () => {});
    let answer = '';
    large.on('data', chunk => (answer += chunk));
    large.write(head(64 * 1024 * 1024));
    const chunk = Buffer.alloc(1024 * 1024, ' ');
    const body = Readable.from(Array.from({ length: 64 }, () => chunk));
    body.pipe(large, { end: false });
    await within(20_000, once(body, 'end'), 'all of it to be taken');
    large.write(`GET /api/costs HTTP/1.1\r\nHost: localhost:${desk.port}\r\nConnection: close\r\n\r\n`);
    await within(20_000, once(large, 'close'), 'the refusal, and what follows it');
    assert.equal(answer.match(/^HTTP\/1\.1 \d+/gm), ['HTTP/1.1 413', 'HTTP/1.1 200']);
    assert.is((await desk.json('/api/costs')).status, 200);
  });
});

server('should tell a call from its coming to its end, with all that is kept of it', async () => {
  await withDesk({}, { initializer: { timeout: 3 } }, async desk => {
    const feed = await desk.listen();
    assert.equal([feed.snapshot.calls, feed.snapshot.instances, feed.snapshot.about.name], [[], [], 'app']);
    const secret = 'canary-of-a-cookie';
    const request = {
      kind: 'http',
      method: 'POST',
      path: '/x?status=201&header=x-fc-own:1',
      headers: [
        ['Cookie', secret],
        ['X-Own', 'shown'],
      ],
      body: { text: 'the body' },
    };
    const { status, body: sent } = await desk.post('/api/send', request);
    assert.is(status, 200);
    const { calls } = await feed.until('its end', done(sent.id));
    const row = calls.find(({ id }) => id === sent.id);
    assert.equal([row?.status, row?.isCold, row?.method, row?.path], [201, true, 'POST', request.path]);
    assert.equal([row?.bytesIn, row?.bytesOut], [8, 8]);

    const { body: detail, text } = await desk.json(`/api/calls/${sent.id}`);
    const names = detail.parts.map((part: { name: string }) => part.name);
    assert.ok(names.includes('instance start') && names.includes('initializer') && names.includes('function'), names);
    const sum = detail.parts.reduce((ms: number, part: { ms: number }) => ms + part.ms, 0);
    assert.ok(Math.abs(sum - detail.call.totalMs) < 0.02, `${sum} is ${detail.call.totalMs}`);
    assert.is(detail.record.sent.line, `POST ${request.path}`);
    assert.is(Buffer.from(detail.record.requestBody.base64, 'base64').toString(), 'the body');
    assert.is(Buffer.from(detail.record.responseBody.base64, 'base64').toString(), 'the body');
    assert.is(detail.record.answer.line, '201 Created');
    assert.not(text.includes(secret), 'no secret is shown');
    assert.not(text.includes('canary-'), 'no credential of FC is shown');
    assert.ok(detail.record.request.headers.some(([name]: string[]) => name === 'X-Fc-Request-Id'));
    assert.match(detail.curl, /^curl -H 'Cookie: \*\*\*' -H 'X-Own: shown' -H 'content-type:' 'http.*\?status=201/);
    assert.match(detail.lines.map((line: { text: string }) => line.text).join('\n'), /^saw POST \/x/m);
    const [finding] = detail.findings;
    assert.equal([finding.title, finding.detail], ['A response header is lost', 'POST /x: x-fc-own']);

    const { instances, phases } = await feed.until('it to freeze', ofPhase('frozen'));
    const told = [...new Set(feed.batches.flatMap(batch => batch.phases.map(({ phase }) => phase)))];
    assert.equal(told, ['starting', 'initializing', 'accepting', 'ready', 'frozen']);
    assert.ok(instances[0] && instances[0].served === 1 && phases.length > 0);
    feed.close();
    // who comes later gets all of it at once
    const again = await desk.listen();
    assert.equal([again.snapshot.calls.length, again.snapshot.findings.length], [1, 1]);
    assert.equal([...new Set(again.snapshot.phases.map(({ phase }) => phase))], told);
    again.close();
  });
});

server('should make a call again as it was, and with changes', async () => {
  await withDesk({}, {}, async (desk, fc) => {
    const feed = await desk.listen();
    const secret = 'canary-of-a-cookie';
    const path = '/x?headers=1';
    const headers = [['cookie', secret]];
    const { body: first } = await desk.post('/api/send', {
      kind: 'http',
      method: 'PUT',
      path,
      headers,
      body: { text: 'a' },
    });
    await feed.until('the first', done(first.id));
    const seenBy = (id: string): string => {
      for (const event of fc.life.events) {
        if (!is(event, 'call') || event.requestId !== id) continue;
        return `${JSON.stringify(event.record.sent)} ${event.record.requestBody.first}`;
      }
      return '';
    };

    const { body: same } = await desk.post(`/api/calls/${first.id}/replay`, {});
    await feed.until('the second', done(same.id));
    assert.is(seenBy(same.id), seenBy(first.id));
    assert.match(seenBy(same.id), secret);

    const change = {
      path: '/y',
      body: { base64: Buffer.from([0, 255]).toString('base64') },
      headers: [
        ['COOKIE', '***'],
        ['b', 'c'],
      ],
    };
    const { body: other } = await desk.post(`/api/calls/${first.id}/replay`, change);
    await feed.until('the third', done(other.id));
    assert.match(
      seenBy(other.id),
      '"path":"/y","headers":[["COOKIE","canary-of-a-cookie"],["b","c"],["Content-Length","2"]]',
    );
    const { body: detail } = await desk.json(`/api/calls/${other.id}`);
    assert.is(detail.record.requestBody.base64, change.body.base64);

    const { body: event } = await desk.post('/api/send', { kind: 'event', body: { text: '{"body":"hi"}' } });
    await feed.until('the event', done(event.id));
    const { body: eventAgain } = await desk.post(`/api/calls/${event.id}/replay`, { body: { text: '{"body":"ho"}' } });
    await feed.until('the other event', done(eventAgain.id));
    const { body: ho } = await desk.json(`/api/calls/${eventAgain.id}`);
    assert.equal([ho.call.kind, Buffer.from(ho.record.responseBody.base64, 'base64').toString()], ['event', 'ho']);
    feed.close();
  });
});

server('should keep the beginning of a large body, and say that it cannot be made again', async () => {
  await withDesk({}, {}, async desk => {
    const feed = await desk.listen();
    const body = { text: 'x'.repeat(MOST_BODY + 1) };
    const { body: sent } = await desk.post('/api/send', { kind: 'http', method: 'POST', path: '/', body });
    await feed.until('its end', done(sent.id));
    const { body: detail } = await desk.json(`/api/calls/${sent.id}`);
    const { bytes, base64 } = detail.record.requestBody;
    assert.equal([bytes, Buffer.from(base64, 'base64').length], [MOST_BODY + 1, MOST_BODY]);
    assert.is(detail.curl, undefined);
    const { status, body: refusal } = await desk.post(`/api/calls/${sent.id}/replay`, {});
    assert.is(status, 409);
    assert.match(refusal.error, /^not made again: only the first 65536 of the 65537 bytes/);
    assert.is((await desk.post(`/api/calls/${sent.id}/replay`, { body: { text: 'short' } })).status, 200);
    feed.close();
  });
});

server('should do to instances what it is asked, and show their lines', async () => {
  await withDesk({ CHILD: '1' }, {}, async (desk, fc) => {
    const feed = await desk.listen();
    assert.is((await desk.post('/api/scale', { count: 1 })).status, 200);
    const { instances } = await feed.until('it to freeze', ofPhase('frozen'));
    const { id = '', memory = 0, pid = 0 } = instances[0] ?? {};
    assert.ok(pid > 0);
    const act = (action: string): Promise<unknown> => desk.post(`/api/instances/${id}/${action}`, {});
    await act('thaw');
    await feed.until('it to thaw', batch => batch.phases.some(({ phase, at }) => phase === 'ready' && at > 0));
    await eventually('it to be thawed', async () => fc.instances()[0]?.frozen === false);
    // it may have been frozen before it could print
    await feed.until('its line', batch => batch.instances.some(one => one.lines === 1));
    await act('freeze');
    await eventually('it to be frozen', async () => fc.instances()[0]?.frozen === true);
    await feed.until('what it uses', batch => batch.instances.some(one => one.memory > 5 && one.cpuMs > 0));
    assert.ok(memory >= 0);
    const { body: log } = await desk.json(`/api/instances/${id}/log`);
    assert.equal(
      log.rows.map((row: { text: string }) => row.text),
      ['up'],
    );
    assert.equal((await desk.json(`/api/instances/${id}/log?after=${log.next}`)).body, {
      rows: [],
      next: 1,
      skipped: 0,
    });
    await act('crash');
    const { instances: ended } = await feed.until('its end', ofPhase('exited'));
    assert.equal(ended.find(one => one.id === id)?.end?.how, 'by SIGKILL');
    assert.is(ended.find(one => one.id === id)?.end?.expected, false);
    await feed.until('the finding', batch =>
      batch.findings.some(({ title }) => title === 'The process ended by itself'),
    );
    assert.is((await desk.post(`/api/instances/${id}/crash`, {})).status, 404);
    await desk.post('/api/redeploy', {});
    assert.is(desk.redeployed(), 1);
    assert.is((await desk.json(`/api/instances/${id}/log`)).status, 200, 'its lines stay');
    feed.close();
  });
});

server('should sum up what a run costs', async () => {
  await withDesk({}, { memory: 1024, cpu: 0.5 }, async desk => {
    const feed = await desk.listen();
    for (const query of ['sleep=20', 'sleep=20', 'exit=3']) {
      const { body: sent } = await desk.post('/api/send', { kind: 'http', method: 'POST', path: `/?${query}` });
      await feed.until(query, done(sent.id));
    }
    const { body: costs } = await desk.json('/api/costs');
    assert.equal([costs.calls, costs.failed, costs.coldStarts], [3, 1, 1]);
    assert.ok(costs.busyMs >= 40 && costs.billedMs >= costs.busyMs, JSON.stringify(costs));
    assert.ok(Math.abs(costs.gbSeconds - costs.billedMs / 1000) < 1e-9);
    assert.ok(Math.abs(costs.vcpuSeconds - costs.billedMs / 2000) < 1e-9);
    assert.ok(costs.cold.p50 > costs.warm.p50);
    assert.equal(
      costs.others.map((one: { instanceConcurrency: number }) => one.instanceConcurrency),
      [1, 10, 20],
    );
    feed.close();
  });
});

server('should cut off a page that does not read, and go on', async () => {
  await withDesk({}, {}, async (desk, fc) => {
    const reader = await desk.listen();
    const socket = connect(desk.port, '127.0.0.1');
    socket.on('error', () => {});
    const opened = new Promise(resolve => socket.once('data', resolve));
    socket.write(`GET /api/events HTTP/1.1\r\nHost: localhost:${desk.port}\r\n\r\n`);
    await within(20_000, opened, 'the snapshot');
    socket.pause();
    // FC refuses them at once; each is told with its path
    const path = `/?${'x'.repeat(5000)}`;
    for (let round = 0; round < 10; round++) {
      const seen = reader.batches.length;
      for (let i = 0; i < 1000; i++) await fc.http({ method: 'GET', path });
      await eventually('the next batch', async () => reader.batches.length > seen);
    }
    const closed = new Promise(resolve => socket.on('close', resolve));
    socket.resume();
    await within(20_000, closed, 'the connection to close');
    assert.is((await desk.json('/api/costs')).body.calls, 10_000);
    reader.close();
  });
});

server.run();
