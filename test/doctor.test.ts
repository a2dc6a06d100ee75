import { createServer } from 'node:net';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { eventually, project, run, startServer, suite, temporary, within, write } from './helpers.ts';
import { startPlanes } from './planes/index.ts';

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
  const native = { SERVER_AGENT: 'native', NOSLATED_WORKDIR: workdir, TURF_WORKDIR: turf };
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
      'hello 1 workers of 1 reserved',
      'dp-0 healthy',
      'memory pool 1gb, 512 MiB reserved',
      'healthy',
      '',
    ]);
    assert.is(well.lines[0], `Node.js ${process.version}, ${process.execPath}; agent native`);
    assert.not.match(well.lines.join(), 'hush');

    const greedy = { hello: { worker: { reservationCount: 2 } }, gone: { ...worker, url: './nowhere' } };
    const other = project({ hello, gone: hello }, {}, greedy);
    const ill = await examine(other, { ...env, FC_CUSTOM_LISTEN_PORT: '1' });
    assert.is(ill.code, 1);
    assert.equal(ill.problems, [
      '! FC asks port 1: unset SERVER_PORT',
      '! hello 1 workers of 2 reserved: see the log',
      '! gone not set in the control plane: start the server with this noslate.json',
      '! memory pool 1gb, 1536 MiB reserved: raise NOSLATED_VIRTUAL_MEMORY_POOL_SIZE',
      `! gone no ${join(other, 'nowhere')}: fix its url`,
    ]);
    assert.is(ill.lines.at(-2), '5 to mend');

    await planes.kill();
    close();
    const hush = await listen(join(workdir, 'socks/dp-7.sock'));
    const dead = await within(10_000, examine(folder, env), 'the end');
    hush();
    assert.is(dead.code, 1);
    assert.equal(
      dead.problems.map(line => line.replace(/connect E.*\)/, 'refused')),
      [
        `! turfd ${join(turf, 'turf.sock')} is closed: start it with this TURF_WORKDIR`,
        '! cp-0 refused: start it again',
        '! dp-0 refused: start it again',
        '! dp-7 silent: start it again',
      ],
    );
  } finally {
    await server.stop();
    await planes.stop();
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
