import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import * as assert from 'uvu/assert';
import { describeNode } from '../src/node-release.ts';
import { eventually, project, run, startServer, suite, temporary, within, write } from './helpers.ts';
import { startPlanes } from './planes/index.ts';
import type { InvokeRequest, InvokeResponse } from './planes/messages.ts';
import { method, PUSH_SERVER, socketFile } from './planes/protocol.ts';

const doctor = suite('doctor');

const hello = 'exports.handler = async (ctx, req, res) => { res.writeHead(200); res.end(); };';

/** Something that listens at a path and says nothing. */
async function listen(path: string): Promise<() => void> {
  const server = createServer();
  await new Promise<void>(done => server.listen(path, done));
  return () => void server.close();
}

/** What the doctor says to these settings: its lines, and those of them that name something to mend. */
async function examine(
  folder: string,
  env: Record<string, string>,
): Promise<{ code: number | string; lines: string[]; problems: string[] }> {
  const { code, stdout } = await run(['--doctor', '--config', join(folder, 'noslate.json')], env);
  const lines = stdout.split('\n').map(line => line.replace(/ +/g, ' ').trim());
  return { code, lines, problems: lines.filter(line => line.startsWith('! ')) };
}

doctor('should find Noslate healthy, and then what is wrong with it', async () => {
  const turf = temporary();
  const close = await listen(join(turf, 'turf.sock'));
  const planes = await startPlanes();
  const { workdir } = planes;
  write(join(workdir, 'run/control.config.json'), '{"virtualMemoryPoolSize":"1gb"}');
  const native = {
    SERVER_AGENT: 'native',
    NOSLATED_WORKDIR: workdir,
    TURF_WORKDIR: turf,
    NOSLATE_LOGDIR: '/logs',
  };
  const worker = { worker: { reservationCount: 1 } };
  const server = await startServer({ functions: { hello }, overrides: { hello: worker }, env: native });
  const { folder } = server;
  const env = { ...native, SERVER_PORT: String(server.port), ALIBABA_CLOUD_ACCESS_KEY_SECRET: 'hush' };
  try {
    await eventually('a worker', async () => (await examine(folder, env)).code === 0);
    const well = await examine(folder, env);
    assert.equal(well.lines.slice(1), [
      `server port ${server.port} is open`,
      `FC asks port ${server.port}`,
      `turfd ${join(turf, 'turf.sock')} is open`,
      'cp-0 healthy',
      'dp-0 healthy',
      'hello 1 workers of 1 reserved',
      'memory pool 1gb, 512 MiB reserved',
      'healthy',
      '',
    ]);
    assert.is(well.lines[0], `Node.js ${describeNode()}, ${process.execPath}; agent native`);
    assert.not.match(well.lines.join(), 'hush');

    const greedy = { hello: { worker: { reservationCount: 2 } }, gone: { ...worker, url: './nowhere' } };
    const other = project({ hello, gone: hello }, {}, greedy);
    const ill = await examine(other, { ...env, FC_CUSTOM_LISTEN_PORT: '1' });
    assert.is(ill.code, 1);
    assert.equal(ill.problems, [
      '! FC asks port 1: unset SERVER_PORT',
      '! hello 1 workers of 2 reserved: see /logs/control_plane.log',
      '! gone not set in the control plane: start the server with this noslate.json',
      '! memory pool 1gb, 1536 MiB reserved: raise NOSLATED_VIRTUAL_MEMORY_POOL_SIZE',
      `! gone no ${join(other, 'nowhere')}: fix its url`,
    ]);
    assert.is(ill.lines.at(-2), '5 to mend');

    const environments = [{ key: 'LONG', value: 'x'.repeat(3000) }];
    const large = project({ hello }, {}, { hello: { ...worker, environments } });
    assert.equal((await examine(large, env)).problems, [
      '! hello has an environment of 3008 bytes: turfd may start no worker above 2500',
    ]);

    await planes.setKnobs({ unhealthy: true });
    assert.equal((await examine(folder, env)).problems, [
      '! dp-0 ill, Circuit Breaker Enabled: see /logs/data_plane.log',
    ]);
    await planes.setKnobs({ unhealthy: false });

    close();
    const closeAnother = await listen(join(turf, 'turf.sock'));
    assert.equal((await examine(folder, env)).problems, [
      '! cp-0 older than turfd, and does not connect to another: start it again',
    ]);

    await planes.kill();
    closeAnother();
    const hush = await listen(join(workdir, 'socks/dp-7.sock'));
    const dead = await within(10_000, examine(folder, env), 'the end');
    hush();
    assert.is(dead.code, 1);
    const refused = (plane: string): string => `connect ECONNREFUSED ${join(workdir, `socks/${plane}.sock`)}`;
    assert.equal(dead.problems, [
      `! turfd ${join(turf, 'turf.sock')} is closed: start it with this TURF_WORKDIR`,
      `! cp-0 ${refused('cp-0')}: start it again`,
      `! dp-0 ${refused('dp-0')}: start it again`,
      '! dp-7 silent: start it again',
    ]);
  } finally {
    await server.stop();
    await planes.stop();
  }
});

doctor('should look at every data plane for workers, and for calls that wait there', async () => {
  const turf = temporary();
  const close = await listen(join(turf, 'turf.sock'));
  const planes = await startPlanes({ dataPlanes: [0, 1], knobs: { placeOn: 'dp-1' } });
  const { workdir } = planes;
  const native = { SERVER_AGENT: 'native', NOSLATED_WORKDIR: workdir, TURF_WORKDIR: turf, NOSLATE_LOGDIR: '/logs' };
  const worker = { worker: { reservationCount: 1, replicaCountLimit: 1 } };
  const server = await startServer({ functions: { hello }, overrides: { hello: worker }, env: native });
  const client = new Client(`unix:${socketFile(workdir, 'dp-0')}`, credentials.createInsecure());
  try {
    const env = { ...native, SERVER_PORT: String(server.port) };
    await eventually('a worker', async () => (await examine(server.folder, env)).code === 0);
    const { lines } = await examine(server.folder, env);
    assert.ok(lines.includes('hello 1 workers of 1 reserved, 0 on dp-0 and 1 on dp-1'), lines.join('\n'));

    // as whoever takes any data plane; the server would take it back from there
    await server.stop();
    const { path, requestSerialize, responseDeserialize } = method<InvokeRequest, InvokeResponse>(
      PUSH_SERVER,
      'invoke',
    );
    const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    call.on('error', () => {});
    call.write({ name: 'hello', deadline: Date.now() + 60_000 });
    await eventually('it to wait', async () => (await planes.counters('dp-0')).calls.length === 1);
    const waiting =
      '! hello 1 workers of 1 reserved, 0 on dp-0 and 1 on dp-1, 1 calls wait: see /logs/control_plane.log';
    const closed = `! server port ${server.port} is closed: start it`;
    assert.equal((await examine(server.folder, env)).problems, [closed, waiting]);

    const sdk = { ...env, SERVER_AGENT: 'sdk', NOSLATE_PATH: resolve('dist-test/sdk/noslate') };
    assert.equal((await examine(server.folder, sdk)).problems, [
      closed,
      '! agent sdk picks one of 2 data planes, wherever the workers are: use the agent native',
      waiting,
    ]);
  } finally {
    client.close();
    await server.stop();
    await planes.stop();
    close();
  }
});

doctor('should wait for workers that are on their way, as after another deployment', async () => {
  const turf = temporary();
  const close = await listen(join(turf, 'turf.sock'));
  const planes = await startPlanes({ knobs: { replaceMs: 3000 } });
  const env = { SERVER_AGENT: 'native', NOSLATED_WORKDIR: planes.workdir, TURF_WORKDIR: turf };
  const options = { functions: { hello }, overrides: { hello: { worker: { reservationCount: 1 } } }, env };
  const first = await startServer(options);
  await first.line('its functions', ({ message }) => message === 'function profiles set');
  await first.stop();
  const second = await startServer(options);
  try {
    await eventually(
      'the next functions',
      async () => (await planes.counters('cp-0')).begun['setFunctionProfile'] === 2,
    );
    const { lines, problems } = await examine(second.folder, { ...env, SERVER_PORT: String(second.port) });
    assert.equal(problems, []);
    assert.ok(lines.includes('hello 1 workers of 1 reserved'));
  } finally {
    await second.stop();
    await planes.stop();
    close();
  }
});

doctor('should say so when there is nothing at all', async () => {
  const workdir = temporary();
  const env = { SERVER_AGENT: 'native', NOSLATED_WORKDIR: workdir, TURF_WORKDIR: workdir, SERVER_PORT: '1' };
  const { code, problems, lines } = await examine(project({ hello }), env);
  assert.is(code, 1);
  assert.equal(problems, [
    '! server port 1 is closed: start it',
    `! turfd ${join(workdir, 'turf.sock')} is closed: start it with this TURF_WORKDIR`,
    `! dp none in ${join(workdir, 'socks')}: start one with this NOSLATED_WORKDIR`,
    `! cp none in ${join(workdir, 'socks')}: start one with this NOSLATED_WORKDIR`,
  ]);
  assert.ok(lines.includes('memory pool unknown, 0 MiB reserved'));
});

doctor('should ask for no planes with the local agent', async () => {
  const server = await startServer({ functions: { hello } });
  try {
    const { code, lines } = await examine(server.folder, { SERVER_PORT: String(server.port) });
    assert.is(code, 0);
    assert.equal(lines.slice(1), [`server port ${server.port} is open`, `FC asks port ${server.port}`, 'healthy', '']);
  } finally {
    await server.stop();
  }
});

doctor('should refuse settings that cannot be used, as a start does', async () => {
  const { code, stdout, stderr } = await run(['--doctor', '--config', '/nowhere/noslate.json']);
  assert.equal([code, stdout], [78, '']);
  assert.match(stderr, 'noslate-fc: /nowhere/noslate.json: no such file');
});

doctor.run();
