import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { holders, signalAll } from '../../src/desk/fc/processes.ts';
import { endWithUs, type LogLine, observe, suite, temporary, within, write } from '../helpers.ts';

const pack = suite('package');

/** Without what an npm above tells: it would have an npm below install into this repository. */
const ENVIRONMENT = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(npm_|INIT_CWD$|SERVER_|FC_|NOSLATE)/i.test(name)),
);

/** Runs a program to its end, and gives what it has printed. @throws {Error} rejected: it failed. */
function run(program: string, args: readonly string[], cwd: string): Promise<string> {
  const work = new Promise<string>((resolve, reject) =>
    execFile(program, args, { cwd, env: ENVIRONMENT }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${program} ${args.join(' ')}: ${error.message}\n${stdout}${stderr}`));
    }),
  );
  return within(60_000, work, `${program} ${args.join(' ')}`);
}

/** The package in a folder that has nothing else, installed without any network. */
async function installed(): Promise<string> {
  const folder = realpathSync(temporary());
  // it is built already; a build now would pull the files from under the other tests
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], process.cwd());
  const [tarball = ''] = readdirSync(folder);
  await run('npm', ['install', '--offline', '--no-audit', '--no-fund', `./${tarball}`], folder);
  return folder;
}

let folder = '';

pack('should install into an empty folder, and bring nothing else', async () => {
  folder = await installed();
  assert.equal(
    readdirSync(join(folder, 'node_modules')).filter(name => !name.startsWith('.')),
    ['noslate-fc'],
  );
});

/** The files of a folder and those below it. */
const filesIn = (of: string): string[] =>
  readdirSync(of, { withFileTypes: true }).flatMap(entry =>
    entry.isDirectory() ? filesIn(join(of, entry.name)) : [join(of, entry.name)],
  );

pack('should hold every file that its pages link to', () => {
  const pages = filesIn(join(folder, 'node_modules/noslate-fc')).filter(file => file.endsWith('.md'));
  assert.ok(pages.length >= 3, pages.join());
  const dead = pages.flatMap(page =>
    [...readFileSync(page, 'utf8').matchAll(/\]\(([^)#\s]+)/g)]
      .map(([, link = '']) => link)
      .filter(link => !/^\w+:/.test(link) && !existsSync(join(dirname(page), link)))
      .map(link => `${page}: ${link}`),
  );
  assert.equal(dead, []);
});

/** Ends a command as Ctrl-C does: with npx, and the shell that npm has between. */
const interrupt = (child: ChildProcess): boolean => process.kill(-(child.pid ?? 0), 'SIGINT');

pack('should play FC for a function of the folder', async () => {
  const source = `exports.handler = async (_ctx, req, res) => { res.writeHead(200); res.end('hello from ' + req.url); };`;
  const hello = { name: 'hello', runtime: 'nodejs', url: './hello', handler: 'index.handler', signature: '1' };
  write(join(folder, 'hello/index.js'), source);
  write(join(folder, 'noslate.json'), JSON.stringify({ functions: [hello] }));
  const args = ['noslate-fc', 'dev', '--listen', '127.0.0.1:0', '--console', '0'];
  const child = endWithUs(spawn('npx', args, { cwd: folder, env: ENVIRONMENT, stdio: 'pipe', detached: true }));
  const { line, lines, exit } = observe(child);
  const happens = (name: string, test: (event: LogLine) => boolean = () => true): Promise<LogLine> =>
    line(name, event => event['event'] === name && test(event));
  try {
    const { url, console: page } = await happens('listening');
    const { instance } = await happens('starting');
    const { at } = await happens('frozen');
    assert.is(await run('curl', ['-sS', `${url}/you`], folder), 'hello from /you');
    assert.match(await run('curl', ['-sS', String(page)], folder), /^<!doctype html>.*<title>noslate-fc<\/title>/);
    await happens('thawed');
    await happens('frozen', event => Number(event['at']) > Number(at));
    const [answer] = lines().filter(({ event }) => event === 'answer');
    assert.equal([answer?.['path'], answer?.['status']], ['/you', 200]);
    interrupt(child);
    const { requests, failed } = await happens('quit');
    assert.equal([requests, failed], [1, 0]);
    assert.equal(holders('FC_INSTANCE_ID', String(instance)), [], 'no process is left');
    await within(20_000, exit, 'the end of npx');
  } finally {
    // of one that has ended there is nothing left
    const instances = lines().filter(({ event }) => event === 'starting');
    signalAll(
      [-(child.pid ?? 0), ...instances.flatMap(item => holders('FC_INSTANCE_ID', String(item['instance'])))],
      'SIGKILL',
    );
  }
});

pack('should write a project to begin with, and events to try it', async () => {
  assert.match(await run('npx', ['noslate-fc', 'init', 'new'], folder), /^wrote {2}hello\/index\.js$/m);
  assert.match(await run('npx', ['noslate-fc', '--check', '--config', 'new/noslate.json'], folder), /^ok$/m);
  assert.match(await run('npx', ['noslate-fc', 'event', 'timer'], folder), /"triggerTime"/);
});

pack('should hold the licences of what is bundled', () => {
  const bundled = readFileSync(join(folder, 'node_modules/noslate-fc/dist/desk.LICENSES.txt'), 'utf8');
  assert.match(bundled, /^preact\n\nThe MIT License.*\nyaml\n\nCopyright Eemeli Aro/s);
});

pack('should check itself for conformance, and another server', async () => {
  const few = ['noslate-fc', 'conformance', '--fc', '3.0', '--only', 'event.'];
  const output = await run('npx', few, folder);
  assert.match(output, /\n {2}ok {4}event\.body /);
  assert.match(output, /\n\d+ passed, 0 failed\n$/);
});

pack.run();
