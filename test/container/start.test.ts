import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { ask, eventually, NOT_LINUX, project, SERVER_FILE, suite, temporary, write } from '../helpers.ts';
import { ARRANGEMENTS, type Container, processes, START_FILE, together, withContainer } from './container.ts';
import type { Manners } from './noslate/manners.ts';

const test = suite('container start', { skip: NOT_LINUX });

/** A command that gives mounts of its own to another, or none where this is not allowed. */
const MOUNTING =
  spawnSync('unshare', ['--mount', 'mount', '-o', 'remount,bind,ro', '/']).status === 0 ? ['unshare', '--mount'] : [];

/** The configuration that counts for a plane. */
const configOf = (container: Container, plane: 'data' | 'control'): Record<string, unknown> =>
  JSON.parse(readFileSync(join(container.workdir, `noslated/run/${plane}.config.json`), 'utf8'));

for (const [planes] of ARRANGEMENTS) {
  test(`should answer the hooks, events and HTTP as soon as all is up, planes in ${planes}`, () =>
    withContainer({ planes, args: ['start'] }, async container => {
      await container.listening();
      const hook = (path: string) => {
        const headers = { 'x-fc-control-path': path, 'x-fc-initialization-timeout': '30' };
        return ask(container.port, { method: 'POST', path, headers });
      };
      assert.is((await hook('/initialize')).status, 200);
      const reply = await ask(container.port, { path: '/any' });
      assert.is(`${reply.status} ${reply.body}`, '200 hello');
      const event = await ask(container.port, {
        path: '/invoke',
        body: '{}',
        headers: { 'x-fc-control-path': '/invoke' },
      });
      assert.is(`${event.status} ${event.body}`, '200 hello');
      assert.is((await hook('/pre-stop')).status, 200);
      assert.is(await container.end(), 0);
      // nor did it warn of variables that are start.sh's
      assert.equal(container.complaints(), []);
      assert.equal(
        container.lines().filter(({ level }) => level !== 'info'),
        [],
      );
    }));
}

test('should open the port before Noslate is up, and answer when it is', () =>
  withContainer({ standIns: { turf: { socketMs: 1500 } } }, async container => {
    await container.listening();
    const reply = await ask(container.port, { path: '/' });
    assert.is(reply.status, 200);
    const lines = container.lines().map(({ message }) => message);
    assert.ok(lines.indexOf('listening') < lines.indexOf('plane up'));
  }));

test('should run the server on a Node.js that lies beside it', () => {
  const code = project({
    hello: 'exports.handler = async (ctx, req, res) => { res.writeHead(200); res.end("own"); };',
  });
  write(join(code, 'server.js'), readFileSync(SERVER_FILE, 'utf8'));
  symlinkSync(process.execPath, join(code, 'node'));
  return withContainer({ env: { SERVER_PATH: code } }, async container => {
    await container.listening();
    const { pid } = await container.find('server');
    assert.is(readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0], join(code, 'node'));
    assert.is(String((await ask(container.port, { path: '/' })).body), 'own');
  });
});

test('should write what Noslate needs, and let the operator win', async () => {
  const own = temporary();
  write(join(own, 'user.json'), '{"virtualMemoryPoolSize":"3gb"}');
  write(join(own, 'platform.json'), '{"virtualMemoryPoolSize":"5gb"}');
  const cases: { env: Record<string, string>; config: Record<string, unknown>; plane: Record<string, string> }[] = [
    {
      env: { FC_FUNCTION_MEMORY_SIZE: '4096', SERVER_DATA_PLANES: '2' },
      config: {
        plane: { dataPlaneCount: 2, controlPlaneCount: 1 },
        virtualMemoryPoolSize: '3744mb',
        systemCircuitBreaker: { systemLoad1Limit: 100_000 },
      },
      plane: { DISABLE_INSPECTOR: 'true', TZ: 'UTC' },
    },
    {
      env: { NOSLATED_CONFIG_PATH: join(own, 'user.json'), TZ: 'Asia/Shanghai', DISABLE_INSPECTOR: 'false' },
      config: {
        plane: { dataPlaneCount: 1, controlPlaneCount: 1 },
        virtualMemoryPoolSize: '3gb',
        systemCircuitBreaker: { systemLoad1Limit: 100_000 },
      },
      plane: { DISABLE_INSPECTOR: 'false', TZ: 'Asia/Shanghai' },
    },
    {
      env: { NOSLATED_PLATFORM_CONFIG_PATH: join(own, 'platform.json'), NOSLATED_VIRTUAL_MEMORY_POOL_SIZE: '7gb' },
      config: { virtualMemoryPoolSize: '7gb' },
      plane: { NOSLATED_PLATFORM_CONFIG_PATH: join(own, 'platform.json') },
    },
  ];
  await together(2, cases, ({ env, config, plane }) =>
    withContainer({ env: { TZ: undefined, ...env } }, async container => {
      await container.up();
      assert.equal(configOf(container, 'data'), config);
      assert.equal(configOf(container, 'control'), config);
      for (const name of ['data_plane', 'control_plane']) {
        const found = await container.find(name);
        for (const [key, value] of Object.entries(plane)) assert.is(found.env.get(key), value, `${name}: ${key}`);
      }
      if (env['SERVER_DATA_PLANES'] === '2') {
        await container.line('dp-1 up', ({ message, plane: name }) => message === 'plane up' && name === 'dp-1');
        await container.find('data_plane-1');
        // the one of them that has no worker is not asked, or is left
        const replies = await Promise.all(Array.from({ length: 8 }, () => ask(container.port)));
        assert.equal(
          replies.map(({ status }) => status),
          Array.from({ length: 8 }, () => 200),
        );
      }
    }),
  );
});

test('should unset the counts with which Noslate does not start, and say so', () =>
  withContainer({ env: { NOSLATED_DATA_PLANE_COUNT: '2', NOSLATED_CONTROL_PLANE_COUNT: '1' } }, async container => {
    await container.up();
    assert.equal(
      container.complaints().map(line => line.replace(/:[^:]*$/, '')),
      ['noslate-fc: NOSLATED_DATA_PLANE_COUNT', 'noslate-fc: NOSLATED_CONTROL_PLANE_COUNT'],
    );
  }));

for (const [planes, names] of ARRANGEMENTS) {
  test(`should bring what Noslate logs to stdout, to the last line, planes in ${planes}`, () =>
    withContainer({ planes, env: { SERVER_PLANE_LOG: 'stdout' } }, async container => {
      await container.listening();
      await ask(container.port);
      await container.signal('SIGTERM');
      assert.is(await container.end(), 0);
      const output = container.output();
      assert.match(output, /^\[data_plane\] INFO \d+ \[DATA PLANE\] 0 listens$/m);
      assert.match(output, /^\[control_plane\] INFO \d+ \[CONTROL PLANE\] 0 listens$/m);
      assert.match(output, /^\[data_plane\] INFO \d+ \[WORKER\] \[none\] told of by the data plane$/m);
      assert.match(output, /^\[control_plane\] INFO \d+ \[WORKER\] worker\(none\) told of by the control plane$/m);
      // what functions print comes by way of the data plane's double
      assert.match(output, new RegExp(`^\\[${names[0]}\\] \\{.*"called"`, 'm'));
      assert.match(output, /^\[data_plane\] INFO \d+ \[DATA PLANE\] stopping$/m);
      assert.match(output, /^\[control_plane\] INFO \d+ \[CONTROL PLANE\] stopping$/m);
    }));
}

test('should bring it from the next day on, too, when a plane logs into another file', () =>
  withContainer(
    { env: { SERVER_PLANE_LOG: 'stdout' }, standIns: { data_plane: { midnightMs: 2000 } } },
    async container => {
      const logs = (text: string): Promise<void> =>
        eventually(text, async () => container.output().includes(text), 60_000);
      await logs('[DATA PLANE] 0 listens');
      await logs('good morning');
      const files = readdirSync(join(container.workdir, 'logs'));
      assert.is(files.filter(file => /^data_plane\.log\.\d/.test(file)).length, 2);
      await container.signal('SIGTERM');
      assert.is(await container.end(), 0);
      const said = container.output().match(/^\[data_plane\] INFO \d+ \[DATA PLANE\] .*$/gm) ?? [];
      assert.equal(
        said.map(line => line.replace(/^.*INFO \d+ \[DATA PLANE\] /, '')),
        ['starting', '0 listens', 'good morning', 'stopping'],
      );
    },
  ));

test('should hand SIGHUP on to the server', () =>
  withContainer({}, async container => {
    await container.up();
    await container.line('profiles set', ({ message }) => message === 'function profiles set');
    await container.signal('SIGHUP');
    await container.line('reload', ({ message }) => message === 'configuration reloaded');
  }));

test("should give FC's credentials to the server alone", async () => {
  const names = ['ACCESS_KEY_ID', 'ACCESS_KEY_SECRET', 'SECURITY_TOKEN'].map(name => `ALIBABA_CLOUD_${name}`);
  const all = [...names, 'accessKeyID', 'accessKeySecret', 'securityToken'];
  const env = Object.fromEntries(all.map(name => [name, 'canary']));
  for (const [planes] of ARRANGEMENTS) {
    await withContainer({ planes, env }, async container => {
      await container.up();
      const having = processes(container.workdir).filter(({ env: own }) => [...own.values()].includes('canary'));
      assert.equal(having.map(({ name }) => name).sort(), ['server', 'start.sh']);
      assert.is(container.output().includes('canary'), false);
    });
  }
});

test('should have a changed function answer, as long as that takes running planes', () =>
  withContainer({ profile: { worker: { reservationCount: 1 } } }, async container => {
    const initialize = { 'x-fc-control-path': '/initialize', 'x-fc-initialization-timeout': '60' };
    await container.listening();
    assert.is((await ask(container.port, { method: 'POST', headers: initialize })).status, 200);
    const file = join(container.code, 'noslate.json');
    write(file, readFileSync(file, 'utf8').replace('"signature":"', '"signature":"other-'));
    await container.signal('SIGHUP');
    await container.line('reload', ({ message }) => message === 'configuration reloaded');
    assert.is((await ask(container.port, { method: 'POST', headers: initialize })).status, 200);
    assert.is(String((await ask(container.port, { path: '/' })).body), 'hello');
  }));

test('should answer by other code while the planes still take it over', async () => {
  const gives = (status: number) =>
    `exports.handler = async (ctx, req, res) => { res.writeHead(${status}); res.end(); };`;
  const code = project({ hello: gives(200) });
  write(join(code, 'other/index.js'), gives(201));
  const file = join(code, 'noslate.json');
  await withContainer({ env: { SERVER_CONFIG: file } }, async container => {
    await container.up();
    assert.is((await ask(container.port)).status, 200);
    write(file, readFileSync(file, 'utf8').replace('./hello', './other'));
    await container.signal('SIGHUP');
    await eventually('the other code', async () => (await ask(container.port)).status === 201);
    const sets = () => container.lines().flatMap(({ message }, i) => (message === 'function profiles set' ? [i] : []));
    await eventually('the planes to have it', async () => sets().length === 2);
    // not before the old worker has had its time to end
    const first = container.lines().findIndex(({ status }) => status === 201);
    assert.ok(first > 0 && first < (sets()[1] ?? 0));
  });
});

test('should not start a worker of which turfd is told too much, nor wait for it', () => {
  const environments = [{ key: 'LONG', value: 'x'.repeat(3400) }];
  return withContainer({ profile: { environments, worker: { reservationCount: 1 } } }, async container => {
    await container.up();
    const { status, body } = await ask(container.port);
    assert.is(status, 502);
    assert.match(String(body), 'its worker could not be started, turfd broke off: expected an environment of at most');
    const log = join(container.workdir, 'logs/control_plane_out.log');
    await eventually('the reserved one to fail', async () => readFileSync(log, 'utf8').includes('read ECONNRESET'));
    assert.not(existsSync(join(container.workdir, 'logs/workers')));
  });
});

test('should end with one clear line for a setting that cannot be used', async () => {
  const folder = temporary();
  const file = join(folder, 'file');
  write(file, '');
  write(
    join(folder, 'bad.json'),
    '{"functions":[{"name":1,"runtime":"nodejs","url":"file:///x","signature":"1","handler":"a.b"}]}',
  );
  write(join(folder, 'bin/turf'), '');
  const cases: { env: Record<string, string>; says: string; status?: number; standIns?: Manners }[] = [
    { env: { NOSLATE_PATH: join(folder, 'none') }, says: 'NOSLATE_PATH: expected' },
    { env: { NOSLATE_PATH: 'relative' }, says: 'NOSLATE_PATH: expected an absolute path' },
    { env: { NOSLATE_BIN: folder }, says: 'NOSLATE_BIN: no turf in' },
    { env: { NOSLATE_BIN: join(folder, 'bin') }, says: 'NOSLATE_BIN: no data_plane in' },
    { env: { SERVER_NODE: file }, says: 'SERVER_NODE: expected' },
    { env: { SERVER_PATH: join(folder, 'none') }, says: 'SERVER_PATH: expected a folder' },
    { env: { SERVER_PATH: folder }, says: 'SERVER_PATH: no server.js' },
    { env: { NOSLATED_WORKDIR: file }, says: `NOSLATED_WORKDIR: ${file}/socks is not a folder` },
    { env: { TURF_WORKDIR: file }, says: `TURF_WORKDIR: ${file}/sandbox is not a folder` },
    { env: { NOSLATE_LOGDIR: file }, says: `NOSLATE_LOGDIR: ${file} is not a folder` },
    { env: { SERVER_DATA_PLANES: '0' }, says: 'SERVER_DATA_PLANES: expected auto or' },
    { env: { SERVER_PLANES: 'three' }, says: 'SERVER_PLANES: expected one, two, got "three"' },
    // with packs there is the program, too
    ...(process.env['TEST_WARM'] === undefined
      ? [{ env: { SERVER_PLANES: 'one' }, says: 'SERVER_PLANES: expected two where there is no /' }]
      : []),
    { env: { SERVER_PLANES: 'one', SERVER_DATA_PLANES: '2' }, says: 'SERVER_PLANES: expected two with 2 data planes' },
    { env: { SERVER_PLANE_LOG: 'stderr' }, says: 'SERVER_PLANE_LOG: expected' },
    { env: { SERVER_STOP_TIMEOUT: '-1' }, says: 'SERVER_STOP_TIMEOUT: expected' },
    // what the server refuses it says itself
    { env: { SERVER_DRAIN_TIMEOUT: 'long' }, says: 'SERVER_DRAIN_TIMEOUT: expected' },
    { env: { SERVER_CONFIG: join(folder, 'bad.json') }, says: `${folder}/bad.json: functions[0].name` },
  ];
  await together(2, cases, ({ env, says }) =>
    withContainer({ env }, async container => {
      assert.is(await container.end(), 78, says);
      assert.is(container.complaints().length, 1, container.output());
      assert.ok(container.complaints()[0]?.startsWith(`noslate-fc: ${says}`), container.output());
      assert.is(container.output().trim().split('\n').length, 1, container.output());
    }),
  );
});

test('should end with one clear line when the port is taken', async () => {
  const other = createServer();
  await new Promise<void>(done => other.listen(0, '0.0.0.0', done));
  const address = other.address();
  const port = typeof address === 'object' ? String(address?.port) : '';
  try {
    await withContainer({ env: { SERVER_PORT: port } }, async container => {
      assert.is(await container.end(), 1);
      assert.is(container.output(), `noslate-fc: SERVER_PORT: port ${port} is taken by another process\n`);
    });
  } finally {
    await new Promise(done => other.close(done));
  }
});

test('should know no command but start', () =>
  withContainer({ args: ['stop'] }, async container => {
    assert.is(await container.end(), 64);
    assert.is(container.output(), 'Usage: start.sh [start]\n');
  }));

test('should take memory and vCPUs from what limits them', () => {
  const cases: [files: Record<string, string>, memory: string, env?: Record<string, string>][] = [
    [{ 'memory.max': '536870912\n' }, '512'],
    [{ 'memory.max': 'max\n' }, '0'],
    [{ 'memory/memory.limit_in_bytes': '268435456\n' }, '256'],
    [{ 'memory/memory.limit_in_bytes': '9223372036854771712\n' }, '0'],
    [{}, '0'],
    [{ 'memory.max': '536870912\n' }, '3072', { FC_FUNCTION_MEMORY_SIZE: '3072' }],
  ];
  const shell = (script: string, folder: string, env: Record<string, string> = {}): string =>
    execFileSync('bash', ['--norc', '-c', `. "$1"; ${script}`, 'test', START_FILE, folder], {
      env: { PATH: process.env['PATH'] ?? '', ...env },
      encoding: 'utf8',
    }).trim();
  for (const [files, memory, env] of cases) {
    const folder = temporary();
    for (const [name, text] of Object.entries(files)) write(join(folder, name), text);
    assert.is(shell('measure_memory "$2"; echo "$memory"', folder, env), memory);
  }
  const folder = temporary();
  const all = shell('count_cpus "$2"; echo "$cpus"', folder);
  assert.is(all, execFileSync('nproc', { encoding: 'utf8' }).trim());
  const before = temporary();
  write(join(before, 'cpu/cpu.cfs_period_us'), '100000\n');
  for (const [quota, cpus] of [
    ['150000\n', '1'],
    ['-1\n', all],
  ] as const) {
    write(join(before, 'cpu/cpu.cfs_quota_us'), quota);
    assert.is(shell('count_cpus "$2"; echo "$cpus"', before), cpus);
  }
  write(join(folder, 'cpu.max'), '100000 100000\n');
  assert.is(shell('count_cpus "$2"; echo "$cpus"', folder), '1');
  write(join(folder, 'cpu.max'), 'max 100000\n');
  assert.is(shell('count_cpus "$2"; echo "$cpus"', folder), all);
});

test('should say when turfd opens no socket, and not take an old one for it', async () => {
  const workdir = temporary();
  await withContainer({ workdir }, container => container.up());
  const standIns: Manners = { turf: { socketMs: null } };
  await withContainer({ workdir, standIns }, async container => {
    await container.listening();
    const waiting = ask(container.port);
    assert.is(await container.end(), 1);
    assert.match(
      container.complaints().join('\n'),
      /^noslate-fc: turfd has not opened \S+turf\.sock within 10 seconds/,
    );
    assert.is((await waiting).status, 503);
  });
});

test.run();

const alone = suite('container start, with a root that is read-only', {
  skip: NOT_LINUX ?? (MOUNTING.length === 0 ? 'mounts are not allowed here' : undefined),
});

alone('should get along with one folder that it can write to', async () => {
  // the folder is seen by this container alone: what it holds cannot be looked at from here
  const mounts = 'mount -t tmpfs none "$NOSLATE_WORKDIR" && mount -o remount,bind,ro /';
  const prefix = [...MOUNTING, 'sh', '-c', `${mounts} && exec "$0" "$@"`];
  // of Noslate's image, where somebody has set NOSLATE_WORKDIR
  const image = {
    NOSLATED_WORKDIR: '/.noslate/noslated',
    TURF_WORKDIR: '/.noslate/turf',
    NOSLATE_LOGDIR: '/.noslate/logs',
  };
  await withContainer({ prefix, env: { ...image, SERVER_PLANE_LOG: 'stdout' } }, async container => {
    await container.listening();
    assert.is((await ask(container.port)).status, 200);
    await container.signal('SIGTERM');
    assert.is(await container.end(), 0);
    assert.equal(container.complaints(), []);
  });
  await withContainer({ prefix, env: { NOSLATE_LOGDIR: '/var/log/noslate' } }, async container => {
    assert.is(await container.end(), 78);
    assert.equal(container.complaints(), [
      'noslate-fc: NOSLATE_LOGDIR: /var/log/noslate is not a folder that we can write to',
    ]);
  });
});

alone.run();
