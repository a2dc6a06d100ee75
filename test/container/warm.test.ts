import { existsSync, readdirSync, readFileSync, readlinkSync, symlinkSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { ask, NOT_LINUX, suite, temporary, write } from '../helpers.ts';
import {
  ARRANGEMENTS,
  type Container,
  makeWarm,
  noslatePath,
  processes,
  serverFolder,
  warmFolder,
  withContainer,
} from './container.ts';
import { installNoslate } from './noslate/index.ts';

const test = suite('container warm', { skip: NOT_LINUX });

/** The options with which a program was started. */
async function optionsOf(container: Container, name: string): Promise<string[]> {
  const { pid } = await container.find(name);
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(1, -2);
}

/** Whether a plane was told of a pack. */
async function usesPack(container: Container, name: string): Promise<boolean> {
  const { pid } = await container.find(name);
  return readFileSync(`/proc/${pid}/environ`, 'utf8').includes('NOSLATE_FC_WARM=use:');
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

/** What a worker's starter needs of them. */
const PACKAGE = { '#self/package.json': './package.json' };

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
  const cases = [
    { env: {}, planes: ['planes'], isWarm: true },
    { env: { SERVER_WARM: '0' }, planes: ['data_plane', 'control_plane'], isWarm: false },
    { env: { SERVER_PLANES: 'two' }, planes: ['data_plane', 'control_plane'], isWarm: true },
    { env: { SERVER_WARM: '0', SERVER_PLANES: 'one' }, planes: ['planes'], isWarm: false },
  ];
  for (const { env, planes, isWarm } of cases) {
    await withContainer({ workdir, warm, env, profile: RESERVED }, async container => {
      await expectAnswer(container);
      const running = processes(workdir).map(({ name }) => name);
      assert.equal(running.filter(name => name.includes('plane')).sort(), [...planes].sort());
      for (const plane of planes) {
        const options = (await optionsOf(container, plane)).join(' ');
        assert.is(await usesPack(container, plane), isWarm);
        assert.is(options.includes('preload.js'), isWarm && plane !== 'planes', options);
      }
      assert.is(readlinkSync(node).endsWith('/warm/node'), isWarm);
      logs.push(logOf(container));
      assert.equal(container.complaints(), []);
    });
    assert.equal(complaintsIn(join(workdir, 'logs')), []);
  }
  // its options and its heap are what the plane has given it, each time
  assert.match(logs[0] ?? '', /^noslated \[ '--max-heap-size=102' \] \d+\n$/);
  assert.is(logs[3], (logs[0] ?? '').repeat(4));
});

test('should start as shipped, with a line in the log, where a pack is not of this installation', async () => {
  const folder = temporary();
  installNoslate(folder);
  utimesSync(join(folder, 'package.json'), 1, 1);
  for (const [planes, names] of ARRANGEMENTS) {
    const env = { NOSLATE_PATH: folder, SERVER_PLANES: planes };
    await withContainer({ warm: warmFolder(), env, profile: RESERVED }, async container => {
      await expectAnswer(container);
      const complaints = complaintsIn(join(container.workdir, 'logs'));
      assert.is(complaints.length, names.length + 1, complaints.join('\n'));
      for (const complaint of complaints) assert.match(complaint, /\.pack is not used: made of another installation/);
    });
  }
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
  const file = join(path, 'build/control_plane/index.js');
  const check = `if (/cachedData/.test(require('module')._extensions['.js'])) throw new Error('not mine');\n`;
  write(file, `${check}${readFileSync(file, 'utf8')}`);
  const folder = serverFolder();
  const { lines } = makeWarm(folder, { NOSLATE_PATH: path });
  assert.match(lines[0] ?? '', /^noslate-fc: planes is not warmed: /);
  assert.match(lines.join('\n'), 'planes ended with status 1');
  assert.match(lines[lines.length - 2] ?? '', /^noslate-fc: worker is warmed: \d+\.\d MB$/);
  assert.is(lines[lines.length - 1], 'noslate-fc: as shipped, and slower than it could be: planes');
  assert.equal(readdirSync(join(folder, 'warm')).sort(), ['make.js', 'node', 'planes.js', 'preload.js', 'worker.pack']);
});

test('should not give a pack up for a fault that does not come again', () => {
  const path = temporary();
  installNoslate(path);
  // fails the first start, and the first that has a pack
  const file = join(path, 'build/control_plane/index.js');
  const marks = join(temporary(), 'mark');
  const once = `
    const mark = ${JSON.stringify(marks)} + /cachedData/.test(require('module')._extensions['.js']);
    if (!require('fs').existsSync(mark)) {
      require('fs').writeFileSync(mark, '');
      throw new Error('this once');
    }
  `;
  write(file, `${once}${readFileSync(file, 'utf8')}`);
  const { lines, tries } = makeWarm(serverFolder(), { NOSLATE_PATH: path });
  assert.is(tries.length, 2);
  assert.match(
    tries[0] ?? '',
    /: try 1 of 3 to record planes, worker: no answer .*; noslate-fc: planes ended with status 1/,
  );
  assert.match(tries[1] ?? '', /: try 1 of 3 with planes: no answer of a function: \/initialize: /);
  assert.equal(
    lines.map(line => line.replace(/: \d+\.\d MB$/, '')),
    ['noslate-fc: planes is warmed', 'noslate-fc: worker is warmed'],
  );
  assert.equal([existsSync(`${marks}false`), existsSync(`${marks}true`)], [true, true]);
});

test('should leave the planes apart where Noslate’s layout is another, and say so', async () => {
  const path = temporary();
  installNoslate(path);
  const manifest = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
  // its own programs find their modules by other names
  write(join(path, 'package.json'), JSON.stringify({ ...manifest, imports: { '#own/*': './build/*.js', ...PACKAGE } }));
  for (const plane of ['data_plane', 'control_plane']) {
    const file = join(path, 'bin', plane);
    write(file, readFileSync(file, 'utf8').replaceAll('#self/', '#own/'));
  }
  const folder = serverFolder();
  const { lines } = makeWarm(folder, { NOSLATE_PATH: path });
  assert.match(lines[0] ?? '', /^noslate-fc: each plane has a process of its own, for both in one do not start: /);
  const warmed = lines.filter(line => line.includes(' is warmed: ')).map(line => line.split(' ')[1]);
  assert.equal(warmed, ['data_plane', 'control_plane', 'worker']);
  const packs = ['control_plane.pack', 'data_plane.pack', 'worker.pack'];
  assert.equal(readdirSync(join(folder, 'warm')).sort(), [...packs, 'make.js', 'node', 'preload.js'].sort());
  const options = { warm: join(folder, 'warm'), env: { NOSLATE_PATH: path }, profile: RESERVED };
  await withContainer(options, async container => {
    await expectAnswer(container);
    for (const plane of ['data_plane', 'control_plane']) {
      assert.ok((await optionsOf(container, plane)).join(' ').includes('preload.js'));
    }
    assert.equal(complaintsIn(join(container.workdir, 'logs')), []);
  });
});

test('should warm nothing where nothing starts', () => {
  const folder = serverFolder();
  const { lines } = makeWarm(folder, { STAND_INS: JSON.stringify({ turf: { status: 3 } }) });
  assert.match(lines[0] ?? '', /^noslate-fc: nothing is warmed, for all that starts as shipped: /);
  assert.match(lines.join('\n'), 'turfd ended with status 3');
  assert.equal(readdirSync(join(folder, 'warm')).sort(), ['make.js', 'planes.js', 'preload.js']);
  assert.is(existsSync(join(noslatePath(), 'bin/node')), true);
});

test.run();
