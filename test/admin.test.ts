import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { whole } from '../src/desk/conformance/check.ts';
import { freePort } from '../src/desk/fc/port.ts';
import { AGENTS, withServerOn } from './agents.ts';
import { ask, eventually, open, raw, read, startServer, suite, within, without, withServer, write } from './helpers.ts';
import { withPlanes } from './planes/index.ts';

const TEST_MS = 120_000;
const PATHS = { health: '/health', ready: '/ready', metrics: '/metrics', config: '/config' };

/** Values by name and labels, as they are written. */
function parse(text: string): Map<string, number> {
  const lines = text.split('\n').filter(line => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map(line => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

async function scrape(port: number): Promise<Map<string, number>> {
  return parse(String((await ask(port, { path: PATHS.metrics })).body));
}

/** The sum of all series of a name that have these labels among theirs. */
function sum(metrics: ReadonlyMap<string, number>, name: string, labels = ''): number {
  let total = 0;
  for (const [key, value] of metrics)
    if ((key === name || key.startsWith(`${name}{`)) && key.includes(labels)) total += value;
  return total;
}

const HELLO = { hello: 'exports.handler = async (ctx, req, res) => { res.writeHead(200); res.end("hello"); };' };

const admin = suite('admin port', { ms: TEST_MS });

admin('should answer an operator, and nobody else', async () => {
  const port = await freePort();
  const profile = { environments: [{ key: 'PASSWORD', value: 'canary-of-all' }] };
  const overrides = {
    hello: { environments: [{ key: 'TOKEN', value: 'canary-of-one' }] },
    signed: { url: 'https://canary-user:canary-password@oss.test/code.zip?signature=canary-signature' },
  };
  const env = { SERVER_ADMIN_PORT: String(port) };
  const functions = { ...HELLO, signed: HELLO.hello };
  const routes = [{ path: '/*', function: 'hello' }];
  await withServer({ functions, profile: { ...profile, routes }, overrides, env }, async server => {
    // the open port is what FC waits for, not this one
    await server.line('admin port open', ({ message }) => message === 'admin port open');
    const health = await ask(port, { path: PATHS.health });
    assert.equal([health.status, health.json()['pid']], [200, server.pid]);
    const ready = await ask(port, { path: PATHS.ready });
    assert.equal([ready.status, ready.json()], [200, { ready: true, reasons: [] }]);
    const config = await ask(port, { path: `${PATHS.config}?x` });
    assert.is(config.status, 200);
    assert.equal(config.json()['environments'], ['PASSWORD']);
    const urls = (config.json()['functions'] as { url: string }[]).map(({ url }) => url);
    assert.match(urls[0] ?? '', /^file:\/\/\/.*hello$/);
    assert.is(urls[1], 'https://***@oss.test/code.zip?***');
    assert.is((config.json()['settings'] as Record<string, unknown>)['SERVER_ADMIN_PORT'], port);
    for (const path of Object.values(PATHS)) {
      const { body } = await ask(port, { path });
      assert.is(String(body).includes('canary'), false, path);
      const head = await ask(port, { method: 'HEAD', path });
      assert.equal([head.status, head.body.length], [200, 0]);
      assert.is((await ask(port, { method: 'POST', path, body: 'x' })).status, 405);
      // on the CAPort these are the functions' paths
      assert.is(String((await ask(server.port, { path })).body), 'hello');
    }
    const other = await ask(port, { path: '/pre-stop' });
    assert.is(other.status, 404);
    assert.match(String(other.json()['error']), 'expected /health, /ready');
    assert.is((await ask(server.port, { path: '/' })).status, 200);
  });
});

admin('should serve calls without it when its port is taken', async () => {
  const taken = createServer();
  await new Promise<void>(done => taken.listen(0, '127.0.0.1', done));
  const { port } = taken.address() as AddressInfo;
  try {
    await withServer({ functions: HELLO, env: { SERVER_ADMIN_PORT: String(port) } }, async server => {
      const line = await server.line('not open', ({ message }) => message === 'admin port not open');
      assert.equal([line['level'], line['port']], ['error', port]);
      assert.is((await ask(server.port, { path: '/' })).status, 200);
    });
  } finally {
    taken.close();
  }
});

admin('should refuse ports that are none', async () => {
  for (const port of ['0', '65536', 'x']) {
    const error = await startServer({ functions: HELLO, env: { SERVER_ADMIN_PORT: port } }).catch(String);
    assert.match(String(error), `SERVER_ADMIN_PORT: expected a whole number from 1 to 65535, got "${port}"`);
  }
});

admin.run();

const readiness = suite('readiness', { ms: TEST_MS });

readiness('should say why calls would not be answered, within a second', async () => {
  const functions = { hello: HELLO.hello };
  const overrides = { hello: { worker: { reservationCount: 1 } } };
  await withPlanes({ late: true, knobs: { lateSocketMs: 1500 } }, async planes => {
    const env = { SERVER_AGENT: 'native', NOSLATED_WORKDIR: planes.workdir, SERVER_READY_PATH: '/are/you' };
    await withServer({ functions, overrides, env }, async server => {
      const look = async (): Promise<{ status: number; reasons: string }> => {
        // who hangs must not hang us
        const { status, json } = await within(5000, ask(server.port, { path: '/are/you?x' }), 'an answer');
        return { status, reasons: String(json()['reasons']) };
      };
      const becomes = (status: number, reason: string) =>
        eventually(`${status} ${reason}`, async () => {
          const found = await look();
          return found.status === status && found.reasons.includes(reason);
        });
      await becomes(503, 'no data plane is up,no control plane is up');
      await becomes(200, '');
      await planes.setKnobs({ unhealthy: true });
      await becomes(503, 'dp-0 is not healthy: ');
      await planes.setKnobs({ unhealthy: false });
      await becomes(200, '');
      process.kill(planes.pid(), 'SIGSTOP');
      await becomes(503, 'dp-0: ');
      // found to be silent, they are not even asked any more
      await becomes(503, 'cp-0: 14 UNAVAILABLE: cp-0 takes no call');
      process.kill(planes.pid(), 'SIGCONT');
      await becomes(200, '');
      await planes.kill('SIGKILL');
      await becomes(503, 'no data plane is up,no control plane is up');
      await planes.restart();
      await becomes(200, '');
      // FC's other check is of the process alone, and neither is in the log
      assert.is(
        server.lines().some(({ message, path }) => message === 'request' && path === '/are/you'),
        false,
      );
    });
  });
});

readiness('should tell of what is refused, but not of another profile that is on its way', async () => {
  await withPlanes({ knobs: { refuseEnvironments: true } }, async planes => {
    const env = { SERVER_AGENT: 'native', NOSLATED_WORKDIR: planes.workdir, SERVER_READY_PATH: '/ready' };
    const profile = { environments: [{ key: 'A', value: '1' }] };
    await withServer({ functions: HELLO, profile, env }, async ({ port, folder, kill, lines }) => {
      const becomes = (status: number, reason: string) =>
        eventually(`${status} ${reason}`, async () => {
          const found = await ask(port, { path: '/ready' });
          return found.status === status && String(found.json()['reasons']).includes(reason);
        });
      await becomes(503, 'cp-0: the control plane refuses the environments');
      await planes.setKnobs({ refuseEnvironments: false });
      await becomes(200, '');
      // a worker that has to go, which takes running planes 3 s
      assert.is((await ask(port, { path: '/' })).status, 200);
      const file = join(folder, 'noslate.json');
      write(file, readFileSync(file, 'utf8').replace('"signature":"', '"signature":"other-'));
      kill('SIGHUP');
      const sets = (): number => lines().filter(({ message }) => message === 'function profiles set').length;
      let looks = 0;
      await eventually('the other profile', async () => {
        const { body } = await ask(port, { path: '/ready' });
        // a busy machine's planes may be slow to say that they are well
        assert.not.match(String(body), /taken|refuses|no (data|control) plane/);
        looks++;
        return sets() === 2;
      });
      assert.ok(looks > 1);
    });
  });
});

readiness('should have FC send no call to an instance whose planes are gone, and calls again', async () => {
  await withPlanes({}, async planes => {
    const env = { SERVER_AGENT: 'native', NOSLATED_WORKDIR: planes.workdir, SERVER_READY_PATH: '/ready' };
    const healthCheck = { httpGetUrl: '/ready', periodSeconds: 0.05, failureThreshold: 1 };
    await withServer({ functions: HELLO, env, fc: { healthCheck } }, async ({ fc, lines }) => {
      const call = async (): Promise<number> => (await whole(fc.http({ method: 'GET', path: '/' }))).status;
      assert.is(await call(), 200);
      await planes.kill('SIGKILL');
      await within(
        10_000,
        fc.life.until(({ event }) => event === 'unhealthy'),
        'FC to know',
      );
      const requests = (): number => lines().filter(({ message }) => message === 'request').length;
      const before = requests();
      const refused = await whole(fc.http({ method: 'GET', path: '/' }));
      assert.match(refused.text, 'no instance passes its health check');
      await planes.restart();
      await within(
        10_000,
        fc.life.until(({ event }) => event === 'healthy'),
        'FC to know',
      );
      assert.is(await call(), 200);
      // the one before was not sent
      await eventually('the line of the call', async () => requests() > before);
      assert.is(requests(), before + 1);
    });
  });
});

for (const agent of AGENTS) {
  readiness(`should be yes when calls are answered :: ${agent}`, async () => {
    await withServerOn(agent, { functions: HELLO, env: { SERVER_READY_PATH: '/ready' } }, async ({ port }) => {
      await eventually('it to be ready', async () => (await ask(port, { path: '/ready' })).status === 200);
      assert.is((await ask(port, { path: '/' })).status, 200);
    });
  });
}

readiness('should miss workers, and be no while stopping', async () => {
  await withPlanes({ knobs: { noBinary: true } }, async planes => {
    const env = { SERVER_AGENT: 'native', NOSLATED_WORKDIR: planes.workdir, SERVER_READY_PATH: '/ready' };
    const overrides = { hello: { worker: { reservationCount: 1 } } };
    await withServer({ functions: HELLO, overrides, env }, async ({ port }) => {
      await eventually('the worker to be missed', async () => {
        const { status, body } = await ask(port, { path: '/ready' });
        return status === 503 && String(body).includes('function \\"hello\\" has no worker');
      });
    });
  });
  const hold = 'exports.handler = async (ctx, req, res) => { console.log("holding"); };';
  await withServer({ functions: { hold }, env: { SERVER_READY_PATH: '/ready' } }, async ({ port, line, kill }) => {
    const agent = new Agent({ keepAlive: true });
    assert.is((await ask(port, { path: '/ready', agent })).status, 200);
    const held = open(port, { path: '/' });
    await line('the call', ({ message }) => message === 'holding');
    kill('SIGTERM');
    await line('draining', ({ message }) => message === 'draining');
    const { status, json } = await ask(port, { path: '/ready' });
    assert.equal([status, json()['reasons']], [503, ['the instance is stopping']]);
    held.request.destroy();
    agent.destroy();
  });
});

readiness.run();

const metrics = suite('metrics', { ms: TEST_MS });

/** What a client sees of its calls, one kind each. */
const KINDS = {
  ok: { path: '/ok', outcome: 'ok' },
  failed: { path: '/fail', outcome: 'FUNCTION_FAILED' },
  late: { path: '/late', outcome: 'TIMEOUT', headers: { 'x-fc-function-timeout': '1' } },
  large: { path: '/ok', outcome: 'BODY_TOO_LARGE', body: 'x'.repeat(200) },
  unknown: { path: '/other', outcome: 'ROUTE_NOT_FOUND' },
} as const;
type KindName = keyof typeof KINDS;

const MIXED = `exports.handler = async (ctx, req, res) => {
  if (req.url === '/fail') throw new Error('told to');
  if (req.url === '/late') return;
  if (req.url === '/hang') { console.log('hangs'); return; }
  res.writeHead(200);
  res.end('ok');
};`;

for (const [agent, amount] of [
  ['local', 20_000],
  ['native', 4_000],
] as const) {
  metrics(`should add up to what clients have seen :: ${agent}`, async () => {
    const port = await freePort();
    const env = { SERVER_ADMIN_PORT: String(port), SERVER_LOG: 'off', SERVER_MAX_BODY: '100' };
    const routes = ['/ok', '/fail', '/late', '/hang'].map(path => ({ path, function: 'mixed' }));
    const overrides = { mixed: { worker: { maxActivateRequests: 1000 } } };
    await withServerOn(agent, { functions: { mixed: MIXED }, overrides, profile: { routes }, env }, async server => {
      await eventually('the admin port', () =>
        ask(port, { path: '/health' }).then(
          ({ status }) => status === 200,
          () => false,
        ),
      );
      const before = await scrape(port);
      const seen: Record<string, number> = {};
      const note = (key: string): void => {
        seen[key] = (seen[key] ?? 0) + 1;
      };
      const keepAlive = new Agent({ keepAlive: true, maxSockets: 24 });
      const names = Object.keys(KINDS) as KindName[];
      let left = amount;
      const work = async (): Promise<void> => {
        while (left-- > 0) {
          // most of them well, as it is
          const name = left % 40 === 0 ? (names[(left / 40) % names.length] as KindName) : 'ok';
          const { outcome, ...call } = KINDS[name];
          const { status } = await ask(server.port, { ...call, agent: keepAlive });
          note(outcome);
          note(`status ${status}`);
        }
      };
      const leave = async (): Promise<void> => {
        const { request } = open(server.port, { path: '/hang' });
        await eventually('the call to be there', async () => sum(await scrape(port), 'noslate_fc_invocations') > 0);
        request.destroy();
        note('client_gone');
      };
      const scribble = async (): Promise<void> => {
        const { socket, closed } = await raw(server.port);
        socket.write('no HTTP\r\n\r\n');
        await closed;
        note('refused');
      };
      await Promise.all([...Array.from({ length: 24 }, work), leave(), scribble()]);
      keepAlive.destroy();
      await eventually('all to be over', async () => sum(await scrape(port), 'http_server_active_requests') === 0);
      const after = await scrape(port);
      const grown = (name: string, labels?: string): number => sum(after, name, labels) - sum(before, name, labels);
      const { refused = 0, ...outcomes } = Object.fromEntries(
        Object.entries(seen).filter(([key]) => !key.startsWith('status ')),
      );
      for (const [outcome, count] of Object.entries(outcomes))
        assert.is(grown('noslate_fc_outcomes_total', `code="${outcome}"`), count, outcome);
      for (const [key, count] of Object.entries(seen)) {
        if (!key.startsWith('status ')) continue;
        const label = `http_response_status_code="${key.slice(7)}"`;
        assert.is(grown('http_server_request_duration_seconds_count', label), count, key);
      }
      const total = amount + 1;
      assert.is(grown('http_server_request_duration_seconds_count'), total);
      assert.is(grown('faas_invocations_total'), total);
      assert.is(grown('faas_invoke_duration_seconds_count'), total);
      const failures = total - (outcomes['ok'] ?? 0) - (outcomes['client_gone'] ?? 0);
      assert.is(grown('faas_errors_total'), failures);
      assert.is(grown('faas_timeouts_total'), outcomes['TIMEOUT']);
      assert.is(grown('noslate_fc_client_gone_total', 'moment="before_head"'), 1);
      assert.is(grown('noslate_fc_refused_total'), refused);
      assert.is(sum(after, 'faas_coldstarts_total'), 1);
    });
  });
}

metrics('should have no series for what a client makes up', async () => {
  const port = await freePort();
  const env = { SERVER_ADMIN_PORT: String(port), SERVER_LOG: 'off' };
  const profile = {
    routes: [
      { path: '/run/:name', function: ':name' },
      { path: '/*', function: 'hello' },
    ],
  };
  await withServer({ functions: HELLO, profile, env }, async server => {
    const hit = async (i: number): Promise<void> => {
      for (const method of ['GET', 'PURGE', 'MKCOL', 'SEARCH']) {
        const reply = await open(server.port, { method, path: `/x${i}?${i}`, headers: { host: `h${i}.test` } }).reply;
        await read(reply);
      }
      await ask(server.port, { path: `/run/made-up-${i}`, headers: { 'x-fc-function-name': `made-up-${i}` } });
    };
    await hit(0);
    // types of Node's own come and go with what there is
    const names = (found: Map<string, number>): string[] =>
      [...found.keys()].filter(name => !name.startsWith('nodejs_active_resources'));
    const before = names(await scrape(port));
    for (let i = 1; i < 50; i++) await hit(i);
    const after = await scrape(port);
    assert.equal(names(after), before);
    assert.is(sum(after, 'faas_invocations_total', 'function="_OTHER"'), 50);
    assert.is(sum(after, 'http_server_request_duration_seconds_count', 'http_request_method="_OTHER"'), 150);
    assert.is(sum(after, 'http_server_request_duration_seconds_count', 'http_route="/run/:name"'), 50);
  });
});

metrics('should tell of the planes: up and gone, what is made again, what is held', async () => {
  const port = await freePort();
  const large = `exports.handler = async (ctx, req, res) => {
    for (let i = 0; i < 512; i++) res.write(Buffer.alloc(65536));
    res.end();
  };`;
  await withPlanes({}, async planes => {
    const env = { SERVER_AGENT: 'native', NOSLATED_WORKDIR: planes.workdir, SERVER_ADMIN_PORT: String(port) };
    await withServer({ functions: { large }, env }, async server => {
      await eventually('the admin port', () => ask(port, { path: '/health' }).then(Boolean, () => false));
      const becomes = (what: string, test: (found: Map<string, number>) => boolean) =>
        eventually(what, async () => test(await scrape(port)));
      const dp = 'plane="dp-0"';
      await becomes('both planes', found => sum(found, 'noslate_fc_plane_up') === 2);
      const stalled = open(server.port, {});
      const reply = await stalled.reply;
      await becomes('a call that stands still', found => sum(found, 'noslate_fc_plane_held_bytes', dp) > 100_000);
      assert.is(sum(await scrape(port), 'noslate_fc_plane_streams', dp) > 0, true);
      assert.is((await read(reply)).length, 512 * 65_536);
      await becomes('it to be read', found => sum(found, 'noslate_fc_plane_held_bytes') === 0);
      await planes.kill('SIGKILL');
      await becomes('none', found => sum(found, 'noslate_fc_plane_up') === 0);
      const waiting = ask(server.port, {});
      await planes.restart();
      assert.is((await waiting).status, 200);
      await becomes('both again', found => sum(found, 'noslate_fc_plane_up') === 2);
      const found = await scrape(port);
      assert.equal(
        [sum(found, 'noslate_fc_plane_ups_total', dp), sum(found, 'noslate_fc_retries_total') >= 0],
        [2, true],
      );
    });
  });
});

metrics('should be as Prometheus takes them, in both formats', async () => {
  const port = await freePort();
  const name = 'a "quoted" \\ name';
  const profile = {
    routes: [
      { path: '/"quoted\\path', function: name },
      { path: '/*', function: name },
    ],
  };
  await withServer(
    { functions: { [name]: HELLO.hello }, profile, env: { SERVER_ADMIN_PORT: String(port) } },
    async server => {
      await ask(server.port, { path: '/"quoted\\path' });
      const plain = await ask(port, { path: '/metrics' });
      assert.is(plain.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
      const accept = 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5';
      const text = String((await ask(port, { path: '/metrics', headers: { accept } })).body);
      assert.ok(text.endsWith('\n# EOF\n'));
      assert.match(text, '# TYPE faas_invocations counter\nfaas_invocations_total{');
      if (without('promtool', 'prometheus') !== undefined) return;
      const checked = spawnSync('promtool', ['check', 'metrics'], { input: plain.body, encoding: 'utf8' });
      assert.equal([checked.status, checked.stdout + checked.stderr], [0, '']);
    },
  );
});

metrics.run();
