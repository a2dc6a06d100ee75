import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import { whole } from '../src/desk/conformance/check.ts';
import { AGENTS, startServerOn, withServerOn } from './agents.ts';
import {
  ask,
  eventually,
  get,
  type LogLine,
  launch,
  observe,
  open,
  project,
  raw,
  read,
  suite,
  temporary,
  within,
  write,
} from './helpers.ts';
import { parseAnswers } from './http-answers.ts';

const HELLO =
  'exports.handler = async (ctx, req, res) => { res.writeHead(200); res.end("hello " + req.method + " " + req.url); };';

/** Never answers who waits at the gate. */
const GATE = `
  exports.handler = async (ctx, req, res) => {
    if (req.url !== '/wait') return res.end('not at the gate');
    console.log('at the gate');
  };`;

for (const agent of AGENTS) {
  const hooks = suite(`lifecycle hooks :: ${agent}`);

  hooks('should answer each hook of FC’s with 200, and end with 0 after the last', async () => {
    const hook = { timeout: 10 };
    const fc = { flavour: '2.0', initializer: hook, preFreeze: hook, preStop: hook, freeze: true } as const;
    const server = await startServerOn(agent, { functions: { hello: HELLO }, fc });
    const { life } = server.fc;
    assert.is((await whole(server.fc.invoke())).text, 'hello POST /invoke');
    await within(
      5000,
      life.until(({ event }) => event === 'frozen' && happened('pre-freeze').length > 0),
      'the freeze',
    );
    await server.fc.stop();
    function happened(name: string): unknown[] {
      return life.events.filter(({ event }) => event === name).map(({ status, code }) => status ?? code);
    }
    assert.equal(
      ['initialized', 'pre-freeze', 'pre-stop', 'exited'].map(name => happened(name).pop()),
      [200, 200, 200, 0],
    );
  });

  hooks('should not initialize before every reserved worker is ready', async () => {
    const source = `
    exports.initializer = async () => { console.log('initialized'); };
    exports.handler = async (ctx, req, res) => res.end(process.env.NOSLATE_WORKER_ID);`;
    const overrides = { warm: { initializer: 'index.initializer', worker: { reservationCount: 2 } } };
    const options = { functions: { warm: source }, overrides, fc: { initializer: { timeout: 20 } } };
    await withServerOn(agent, options, async ({ lines, fc }) => {
      await within(
        20_000,
        fc.life.until(({ event }) => event === 'initialized'),
        'initialize',
      );
      await eventually('both', async () => lines().filter(({ message }) => message === 'worker ready').length === 2);
    });
  });

  hooks('should answer 404 with the reason when a reserved worker cannot start', async () => {
    const functions = {
      broken: 'exports.handler = async () => {}; exports.initializer = () => { throw new Error("secret detail"); };',
    };
    const overrides = { broken: { initializer: 'index.initializer', worker: { reservationCount: 1 } } };
    await withServerOn(agent, { functions, overrides }, async ({ port, line }) => {
      await line(
        'the detail',
        ({ message, error }) => message === 'worker exited' && JSON.stringify(error).includes('secret detail'),
      );
      const headers = { 'x-fc-initialization-timeout': '3' };
      const reply = await ask(port, { method: 'POST', path: '/initialize', headers });
      assert.is(reply.status, 404);
      // Noslate's control plane does not say why a worker is not there
      const expected =
        agent === 'local'
          ? ['INITIALIZER_FAILED', 'function "broken" could not be initialized']
          : [
              'UNAVAILABLE',
              'function "broken": 0 of 1 reserved workers active, and none is starting: the control plane\'s log says why',
            ];
      const { errorType, errorMessage } = reply.json();
      assert.equal([errorType, errorMessage], expected);
    });
  });

  hooks('should name every function that is not ready by x-fc-initialization-timeout, and how far it is', async () => {
    const slow = `
    exports.initializer = () => process.env.NOSLATE_WORKER_ID.endsWith('-1') ? undefined : new Promise(() => {});
    exports.handler = async () => {};`;
    const override = (reservationCount: number): object => ({
      initializer: 'index.initializer',
      worker: { reservationCount },
    });
    const overrides = { warm: override(1), half: override(2), third: override(3) };
    await withServerOn(
      agent,
      { functions: { warm: slow, half: slow, third: slow }, overrides },
      async ({ port, lines, line }) => {
        await line('three workers', () => lines().filter(({ message }) => message === 'worker ready').length === 3);
        const reply = await ask(port, {
          method: 'POST',
          path: '/initialize',
          headers: { 'x-fc-initialization-timeout': '1' },
        });
        assert.is(reply.status, 404);
        assert.is(
          reply.json()['errorMessage'],
          'function "half": 1 of 2 reserved workers active; function "third": 1 of 3 reserved workers active',
        );
      },
    );
  });

  hooks('should wait for no more workers than a changed noslate.json reserves', async () => {
    const functions = { slow: 'exports.handler = async () => {}; exports.initializer = () => new Promise(() => {});' };
    const overrides = { slow: { initializer: 'index.initializer', worker: { reservationCount: 1 } } };
    await withServerOn(
      agent,
      { functions, overrides, args: ['--fc-log', 'on'] },
      async ({ port, folder, line, output, kill }) => {
        const reply = ask(port, {
          method: 'POST',
          path: '/initialize',
          headers: { 'x-fc-initialization-timeout': '20', 'x-fc-request-id': 'init' },
        });
        await line('the hook', () => output().includes('FC Initialize Start RequestId: init'));
        const file = join(folder, 'noslate.json');
        write(file, readFileSync(file, 'utf8').replace('"reservationCount":1', '"reservationCount":0'));
        kill('SIGHUP');
        assert.is((await reply).status, 200);
      },
    );
  });

  hooks('should print FC’s markers around every request when asked to', async () => {
    await withServerOn(
      agent,
      { functions: { hello: HELLO }, args: ['--fc-log', 'on'] },
      async ({ port, output, access }) => {
        const call = async (id: string, method: string, path: string): Promise<void> => {
          await ask(port, { method, path, headers: { 'x-fc-request-id': id } });
          await access(id);
        };
        await call('a', 'POST', '/initialize');
        await call('b', 'POST', '/invoke');
        await call('c', 'GET', '/x');
        await call('d', 'GET', '/pre-freeze');
        const markers = output()
          .split('\n')
          .filter(line => line.startsWith('FC '));
        assert.equal(markers, [
          'FC Initialize Start RequestId: a',
          'FC Initialize End RequestId: a',
          'FC Invoke Start RequestId: b',
          'FC Invoke End RequestId: b',
          'FC Invoke Start RequestId: c',
          'FC Invoke End RequestId: c',
          'FC PreFreeze Start RequestId: d',
          'FC PreFreeze End RequestId: d',
        ]);
      },
    );
    const functions = { fail: 'exports.handler = async () => { throw new Error("x"); };' };
    await withServerOn(agent, { functions, args: ['--fc-log', 'on'] }, async ({ port, output, access }) => {
      await ask(port, { headers: { 'x-fc-request-id': 'e' } });
      await access('e');
      assert.match(output(), 'FC Invoke End RequestId: e, Error: Unhandled function error\n');
    });
  });

  hooks('should answer the health check, and log nothing of it', async () => {
    await withServerOn(
      agent,
      { functions: { hello: HELLO }, args: ['--health-path', '/healthz'] },
      async ({ port, output, access }) => {
        for (const path of ['/healthz', '/healthz?x=1']) assert.is((await ask(port, { path })).status, 200);
        assert.is((await ask(port, { method: 'HEAD', path: '/healthz' })).status, 200);
        const posted = await ask(port, { method: 'POST', path: '/healthz', headers: { 'x-fc-request-id': 'posted' } });
        assert.is(posted.body.toString(), 'hello POST /healthz');
        await access('posted');
        assert.not.match(output(), '"path":"/healthz","function":""');
      },
    );
  });

  hooks.run();

  const stop = suite(`stopping :: ${agent}`);

  stop('should let calls in flight finish on SIGTERM, refuse new ones, and end with 0', async () => {
    const server = await startServerOn(agent, { functions: { gate: GATE } });
    const held = open(server.port, { path: '/wait' });
    await server.line('the call at the gate', ({ message }) => message === 'at the gate');
    const pooled = await raw(server.port);
    server.kill('SIGTERM');
    await server.line('draining', ({ message }) => message === 'draining');
    const refused = await ask(server.port, { path: '/other' });
    assert.equal(
      [refused.status, refused.json()['errorType'], refused.headers['connection']],
      [503, 'DRAINING', 'close'],
    );
    const event = await ask(server.port, { method: 'POST', path: '/invoke' });
    assert.equal([event.status, event.headers['x-fc-status']], [404, '404']);
    pooled.socket.destroy();
    held.request.destroy();
    assert.is(await within(10_000, server.exit, 'the end'), 0);
  });

  stop('should answer the call in flight to its last byte before it ends', async () => {
    const functions = {
      two: `
      let second;
      exports.handler = async (ctx, req, res) => {
        res.writeHead(200);
        res.write('first');
        process.on('second', () => res.end('second'));
        setInterval(() => { if (globalThis.go) { globalThis.go = false; process.emit('second'); } }, 5).unref();
        req.on('data', () => { globalThis.go = true; });
      };`,
    };
    const server = await startServerOn(agent, { functions });
    const client = await raw(server.port, 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n');
    await client.until('first');
    server.kill('SIGTERM');
    await server.line('draining', ({ message }) => message === 'draining');
    client.socket.write('x');
    assert.match(await within(10_000, client.closed, 'the end of the connection'), /second\r\n0\r\n\r\n$/);
    assert.is(await within(10_000, server.exit, 'the end'), 0);
  });

  stop('should give up on a call that outlasts SERVER_DRAIN_TIMEOUT', async () => {
    const server = await startServerOn(agent, { functions: { gate: GATE }, env: { SERVER_DRAIN_TIMEOUT: '1' } });
    const client = await raw(server.port, get('/wait'));
    await server.line('the call at the gate', ({ message }) => message === 'at the gate');
    server.kill('SIGTERM');
    assert.is(await within(10_000, server.exit, 'the end'), 0);
    assert.match(server.output(), 'drain timeout passed');
    await within(5000, client.closed, 'the client to be told');
  });

  stop('should drain on /pre-stop, answer 200 when nothing is in flight, and end with 0', async () => {
    const fc = { preStop: { timeout: 20 } };
    const server = await startServerOn(agent, { functions: { gate: GATE }, fc });
    // FC does not know of this one, and does not wait for it
    const held = await raw(server.port, get('/wait'));
    await server.line('the call at the gate', ({ message }) => message === 'at the gate');
    const stopped = server.fc.stop();
    await eventually('the drain to begin', async () => (await ask(server.port, { path: '/other' })).status === 503);
    assert.is(
      server.fc.life.events.find(({ event }) => event === 'pre-stop'),
      undefined,
    );
    held.socket.destroy();
    await within(20_000, stopped, 'the end');
    const last = server.fc.life.events.filter(({ event }) => event === 'pre-stop' || event === 'exited');
    assert.equal([last[0]?.['status'], last[1]?.['code']], [200, 0]);
  });

  stop('should end at once with 0 on SIGINT, and on a second SIGTERM', async () => {
    for (const signals of [['SIGINT'], ['SIGTERM', 'SIGTERM']] as const) {
      const server = await startServerOn(agent, { functions: { gate: GATE } });
      const client = await raw(server.port, get('/wait'));
      await server.line('the call at the gate', ({ message }) => message === 'at the gate');
      server.kill(signals[0]);
      if (signals[1] !== undefined) {
        await server.line('draining', ({ message }) => message === 'draining');
        server.kill(signals[1]);
      }
      assert.is(await within(5000, server.exit, 'the end'), 0, signals.join());
      client.socket.destroy();
    }
  });

  stop('should end at once with 0 on SIGINT, though a function blocks its thread', async () => {
    const functions = {
      block: 'exports.handler = async () => { console.log("blocking"); setImmediate(() => { for (;;); }); };',
    };
    const server = await startServerOn(agent, { functions });
    const client = await raw(server.port, get('/'));
    await server.line('the block', ({ message }) => message === 'blocking');
    server.kill('SIGINT');
    assert.is(await within(5000, server.exit, 'the end'), 0);
    client.socket.destroy();
  });

  stop('should say close with every answer from SIGTERM on, and then end all connections', async () => {
    // waits for its body, with or without a head before it
    const functions = {
      waits: `
      exports.handler = async (ctx, req, res) => {
        if (req.url === '/head') res.writeHead(200), res.write('first');
        console.log('waiting at ' + req.url);
        for await (const chunk of req);
        res.writeHead(200);
        res.end('done');
      };`,
    };
    const server = await startServerOn(agent, { functions, args: ['--health-path', '/healthz'] });
    const post = (path: string): string => `POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n`;
    const idle = await raw(server.port, get('/idle'));
    await idle.until('done');
    const probed = await raw(server.port);
    const held = await raw(server.port, post('/held'));
    const begun = await raw(server.port, post('/head'));
    for (const path of ['/held', '/head']) {
      await server.line(path, ({ message }) => message === `waiting at ${path}`);
    }
    server.kill('SIGTERM');
    await server.line('draining', ({ message }) => message === 'draining');
    probed.socket.write(get('/healthz'));
    const probe = await within(5000, probed.closed, 'the end of the probe');
    assert.match(probe, /^HTTP\/1\.1 503 [\s\S]*connection: close\r\n/i);
    // what is behind an answer that says close does not count
    held.socket.write(`x${get('/behind')}`);
    const answer = await within(10_000, held.closed, 'the end of the connection');
    assert.match(answer, /^HTTP\/1\.1 200 [\s\S]*connection: close\r\n[\s\S]*\r\n4\r\ndone\r\n0\r\n\r\n$/i);
    // its head had promised to keep the connection
    begun.socket.write('x');
    const rest = await within(10_000, begun.closed, 'the end of the stream');
    assert.match(rest, /connection: keep-alive\r\n[\s\S]*first[\s\S]*done\r\n0\r\n\r\n$/i);
    assert.is((await within(10_000, idle.closed, 'the end of what was idle')).split('HTTP/1.1').length, 2);
    assert.is(await within(10_000, server.exit, 'the end'), 0);
    assert.not.match(server.output(), '/behind');
  });

  stop('should end event streams between two events, and break off all else, when the time is up', async () => {
    const functions = {
      streams: `
      exports.handler = async (ctx, req, res) => {
        if (req.url === '/silent') return;
        const type = req.url.startsWith('/text') ? 'text/plain' : 'text/event-stream; charset=utf-8';
        res.writeHead(200, { 'content-type': type });
        res.write(req.url.endsWith('/half') ? 'data: 1\\n\\nda' : 'data: 1\\n\\n');
      };`,
    };
    const server = await startServerOn(agent, { functions, env: { SERVER_DRAIN_TIMEOUT: '1' } });
    const ends = new Map<string, Promise<string>>();
    for (const path of ['/events', '/events/half', '/text', '/silent']) {
      const client = await raw(server.port, get(path));
      if (path !== '/silent') await client.until('data: 1');
      ends.set(path, within(10_000, client.closed, `the end of ${path}`));
    }
    const nothing = await raw(server.port, get('/events'));
    await nothing.until('data: 1');
    server.kill('SIGTERM');
    assert.match((await ends.get('/events')) ?? '', /data: 1\n\n\r\n0\r\n\r\n$/);
    assert.match((await ends.get('/events/half')) ?? '', /da\r\n$/);
    assert.match((await ends.get('/text')) ?? '', /data: 1\n\n\r\n$/);
    assert.match((await ends.get('/silent')) ?? '', /^HTTP\/1\.1 503 [\s\S]*connection: close[\s\S]*"DRAINING"/i);
    assert.is(await within(10_000, server.exit, 'the end'), 0);
  });

  stop('should answer a hook once, and go on, when its body turns out to be broken', async () => {
    const folder = project({ f: HELLO });
    const child = launch(['--port', '0', '--host', '127.0.0.1', '--agent', 'local'], {}, folder);
    const observed = observe(child);
    const { url } = await observed.line('the port', ({ message }) => message === 'listening');
    const port = Number(new URL(String(url)).port);
    for (const hook of ['POST /initialize', 'GET /pre-freeze']) {
      const client = await raw(port, `${hook} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n`);
      const answers = parseAnswers(await within(10_000, client.closed, 'the end of the connection'));
      assert.is(answers.length, 1, hook);
      assert.is((await ask(port)).status, 200);
    }
    child.kill('SIGTERM');
    assert.is(await within(10_000, observed.exit, 'the end'), 0);
  });

  stop('should sum up at the end what the end cuts off, once', async () => {
    const folder = project({ f: GATE });
    const child = launch(['--port', '0', '--host', '127.0.0.1', '--agent', 'local', '--log', 'json'], {}, folder);
    const observed = observe(child);
    const { url } = await observed.line('the port', ({ message }) => message === 'listening');
    const client = await raw(Number(new URL(String(url)).port), get('/wait'));
    await observed.line('the call', ({ message }) => message === 'at the gate');
    child.kill('SIGTERM');
    await observed.line('draining', ({ message }) => message === 'draining');
    child.kill('SIGTERM');
    assert.is(await within(10_000, observed.exit, 'the end'), 0);
    await within(10_000, client.closed, 'the end of the connection');
    const sums = observed.lines().filter(({ message }) => message === 'summary');
    assert.equal(
      sums.map(({ occasion, calls }) => [occasion, calls]),
      [['stop', 1]],
    );
  });

  stop('should take SIGHUP for no end, however early it comes', async () => {
    const folder = project({ f: HELLO });
    const child = launch(['--port', '0', '--host', '127.0.0.1', '--agent', 'local'], {}, folder);
    const observed = observe(child);
    const { url } = await observed.line('the port', ({ message }) => message === 'listening');
    child.kill('SIGHUP');
    await observed.line('the reload', ({ message }) => message === 'configuration reloaded');
    assert.is((await ask(Number(new URL(String(url)).port))).status, 200);
    child.kill('SIGTERM');
    assert.is(await within(10_000, observed.exit, 'the end'), 0);
  });

  stop('should not end before what it has logged is read', async () => {
    const child = launch(['--port', '0', '--host', '127.0.0.1', '--agent', 'local'], {}, temporary());
    const stdout = child.stdout as Readable;
    const [line] = (await within(10_000, once(createInterface(stdout), 'line'), 'the first line')) as [string];
    const port = Number(new URL((JSON.parse(line) as { url: string }).url).port);
    stdout.pause();
    const requests = 5000;
    const client = await raw(port, get('/nowhere').repeat(requests));
    await client.untilThat(text => parseAnswers(text).length === requests, 'all answers');
    child.kill('SIGTERM');
    await within(10_000, client.closed, 'the end to begin');
    const lines = (await within(10_000, read(stdout), 'the log')).toString().trimEnd().split('\n');
    const ids = new Set(lines.map(text => JSON.parse(text) as LogLine).map(({ requestId }) => requestId));
    assert.is(ids.size, requests + 1);
  });

  stop.run();
}
