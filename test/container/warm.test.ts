import { existsSync, readdirSync, readFileSync, readlinkSync, symlinkSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { ask, NOT_LINUX, suite, temporary, write } from '../helpers.ts';
import { type Container, makeWarm, noslatePath, serverFolder, warmFolder, withContainer } from './container.ts';
import { installNoslate } from './noslate/index.ts';

const test = suite('container warm', { skip: NOT_LINUX });

/** The options with which a program was started. */
async function optionsOf(container: Container, name: string): Promise<string[]> {
  const { pid } = await container.find(name);
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(1, -2);
}

/** What all programs have logged of their packs. */
function complaintsIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return complaintsIn(path);
    const lines = readFileSync(path, 'utf8').split('\n');
    return lines.filter(line => line.startsWith('noslate-fc warm: '));
  });
}

const logOf = (container: Container): string =>
  readFileSync(join(container.workdir, 'logs/workers/hello-1/stdout.log'), 'utf8');

const RESERVED = { worker: { reservationCount: 1 } };

/** Answers a call once all that was reserved is up. */
async function expectAnswer(container: Container): Promise<void> {
  await container.listening();
  const headers = { 'x-fc-control-path': '/initialize', 'x-fc-initialization-timeout': '30' };
  const initialized = await ask(container.port, { method: 'POST', path: '/initialize', headers });
  assert.is(initialized.status, 200, String(initialized.body));
  assert.is(String((await ask(container.port, { path: '/' })).body), 'hello');
}

test('should start planes and workers from their packs, unless told not to', async () => {
  const warm = warmFolder();
  const workdir = temporary();
  const node = join(workdir, 'turf/runtime/nodejs/bin/node');
  const logs: string[] = [];
  for (const env of [{}, { SERVER_WARM: '0' }, { SERVER_WARM: '1' }]) {
    const isWarm = !('SERVER_WARM' in env && env.SERVER_WARM === '0');
    await withContainer({ workdir, warm, env, profile: RESERVED }, async container => {
      await expectAnswer(container);
      for (const plane of ['data_plane', 'control_plane']) {
        const options = await optionsOf(container, plane);
        assert.is(options.join(' ').includes('preload.js'), isWarm, `${plane}: ${options.join(' ')}`);
      }
      assert.is(readlinkSync(node).endsWith('/warm/node'), isWarm);
      logs.push(logOf(container));
      assert.equal(container.complaints(), []);
    });
    assert.equal(complaintsIn(join(workdir, 'logs')), []);
  }
  // its options and its heap are what the plane has given it, each time
  assert.match(logs[0] ?? '', /^noslated \[ '--max-heap-size=102' \] \d+\n$/);
  assert.is(logs[2], (logs[0] ?? '').repeat(3));
});

test('should start as shipped, with a line in the log, where a pack is not of this installation', async () => {
  const folder = temporary();
  installNoslate(folder);
  utimesSync(join(folder, 'package.json'), 1, 1);
  const options = { warm: warmFolder(), env: { NOSLATE_PATH: folder }, profile: RESERVED };
  await withContainer(options, async container => {
    await expectAnswer(container);
    const complaints = complaintsIn(join(container.workdir, 'logs'));
    assert.is(complaints.length, 3, complaints.join('\n'));
    for (const complaint of complaints) assert.match(complaint, /\.pack is not used: made of another installation/);
  });
});

test('should leave a link that the image has, where there is nothing to be warmed with', async () => {
  const workdir = temporary();
  const own = join(workdir, 'own');
  symlinkSync(process.execPath, own);
  const node = join(workdir, 'turf/runtime/nodejs/bin/node');
  write(join(workdir, 'turf/runtime/nodejs/bin/.keep'), '');
  symlinkSync(own, node);
  await withContainer({ workdir }, expectAnswer);
  assert.is(readlinkSync(node), own);
});

test('should warm what can be warmed, and say what cannot', () => {
  const path = temporary();
  installNoslate(path);
  // it looks at the loader, and does not like what it sees
  const file = join(path, 'bin/control_plane');
  const check = `if (/cachedData/.test(require('module')._extensions['.js'])) throw new Error('not mine');\n`;
  write(file, readFileSync(file, 'utf8').replace('\n', `\n${check}`));
  const folder = serverFolder();
  const lines = makeWarm(folder, { NOSLATE_PATH: path });
  assert.match(lines[0] ?? '', /^noslate-fc: data_plane is warmed: \d+\.\d MB$/);
  assert.match(lines[1] ?? '', /^noslate-fc: control_plane is not warmed: /);
  assert.match(lines.join('\n'), 'control_plane ended with status 1');
  assert.match(lines.at(-1) ?? '', /^noslate-fc: worker is warmed: \d+\.\d MB$/);
  assert.equal(readdirSync(join(folder, 'warm')).sort(), [
    'data_plane.pack',
    'make.js',
    'node',
    'preload.js',
    'worker.pack',
  ]);
});

test('should warm nothing where nothing starts', () => {
  const folder = serverFolder();
  const lines = makeWarm(folder, { STAND_INS: JSON.stringify({ turf: { status: 3 } }) });
  assert.match(lines[0] ?? '', /^noslate-fc: nothing is warmed, for all that starts as shipped: /);
  assert.match(lines.join('\n'), 'turfd ended with status 3');
  assert.equal(readdirSync(join(folder, 'warm')).sort(), ['make.js', 'preload.js']);
  assert.is(existsSync(join(noslatePath(), 'bin/node')), true);
});

test.run();
