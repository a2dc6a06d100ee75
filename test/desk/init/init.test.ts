import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as assert from 'uvu/assert';
import { readDeployment } from '../../../src/desk/deployment/read.ts';
import { holders, signalAll } from '../../../src/desk/fc/processes.ts';
import { initHelp } from '../../../src/desk/init/command.ts';
import { projectFiles } from '../../../src/desk/init/files.ts';
import {
  ask,
  endWithUs,
  NOT_LINUX,
  observe,
  run,
  SERVER_FILE,
  suite,
  temporary,
  within,
  write,
} from '../../helpers.ts';

const init = suite('noslate-fc init');

/** Runs the command in a folder, and gives what it has printed. */
async function made(folder: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(['init', ...args], {}, folder);
  assert.equal([code, stderr], [0, '']);
  return stdout;
}

init('should write a project, and say what to do next', async () => {
  const folder = temporary();
  const stdout = await made(folder, 'my.shop');
  const files = projectFiles('my-shop');
  for (const [path, text] of files) {
    assert.ok(stdout.includes(`wrote  ${path}\n`), path);
    assert.is(readFileSync(join(folder, 'my.shop', path), 'utf8'), text);
  }
  assert.ok(files.length === 8 && stdout.includes('\n  cd my.shop\n  npx noslate-fc dev\n'));
  assert.ok(stdout.includes('/2023-03-30/functions/my-shop/invocations\n'));
  assert.not.ok((await made(join(folder, 'my.shop'))).includes('  cd '), 'one is there already');
  assert.is(readFileSync('noslate.schema.json', 'utf8'), files.find(([path]) => path === 'noslate.schema.json')?.[1]);
});

init('should leave what is there, and name it', async () => {
  const folder = temporary();
  write(join(folder, 's.yaml'), 'mine');
  // a link that leads nowhere is something, too
  symlinkSync(join(folder, 'nowhere'), join(folder, 'Dockerfile'));
  const stdout = await made(folder);
  for (const path of ['s.yaml', 'Dockerfile']) assert.ok(stdout.includes(`kept   ${path}, which was there\n`), path);
  assert.is(readFileSync(join(folder, 's.yaml'), 'utf8'), 'mine');
  assert.not.ok(existsSync(join(folder, 'nowhere')));
  assert.ok(stdout.includes('wrote  noslate.json\n'));
});

init('should give names that FC takes, and refuse others', async () => {
  const folder = temporary();
  const named = async (...args: string[]): Promise<string> =>
    /functions\/(.*)\/invocations/.exec(await made(folder, ...args))?.[1] ?? '';
  assert.is(await named('2nd shop!'), 'nd-shop');
  assert.is(await named('商店'), 'app');
  assert.is(await named('a', '--name', 'b_1'), 'b_1');
  const refused = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await run(['init', ...args], {}, folder);
    assert.equal([code, stdout], [78, '']);
    return stderr;
  };
  assert.is(
    await refused('x', '--name', '1/2'),
    'noslate-fc init: --name: expected letters, digits, "_" and "-", a letter or "_" first, at most 64, got "1/2"\n',
  );
  assert.is(await refused('x', 'y'), 'noslate-fc init: expected one FOLDER, got x y\n');
  assert.not.ok(existsSync(join(folder, 'x')));
  assert.is(await made(folder, '--help'), initHelp());
  for (const [path] of projectFiles('x')) assert.ok(initHelp().includes(path), path);
});

init('should say what it cannot write', async () => {
  const folder = realpathSync(temporary());
  write(join(folder, 'file'), '');
  const { code, stdout, stderr } = await run(['init', 'file'], {}, folder);
  assert.equal([code, stdout], [1, '']);
  assert.match(stderr, /^noslate-fc init: cannot write .*\/file\/hello\/index\.js: E[A-Z]+\n$/);
});

init('should write what passes a check, and a deployment without a remark', async () => {
  const folder = temporary();
  await made(folder, '--name', 'shop');
  const { code, stdout, stderr } = await run(['--check'], {}, folder);
  assert.equal([code, stderr], [0, '']);
  assert.match(stdout, /^ok$/m);
  const reading = readDeployment(readFileSync(join(folder, 's.yaml'), 'utf8'), undefined, {});
  assert.equal([reading.deployed?.name, reading.remarks], ['shop', []]);
});

/** TypeScript itself runs on no older one. */
const NO_TYPESCRIPT = Number.parseInt(process.versions.node, 10) < 18 ? 'needs Node.js 18' : undefined;

const types = suite('noslate-fc init, types', { skip: NO_TYPESCRIPT });

types('should write a function whose types hold', async () => {
  const folder = temporary();
  await made(folder);
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(resolve('node_modules/@types'), join(folder, 'node_modules/@types'));
  const strict = ['--noEmit', '--allowJs', '--checkJs', '--strict', '--target', 'es2022', '--types', 'node'];
  const check = (file: string): Promise<string> =>
    within(
      60_000,
      new Promise(done =>
        execFile(
          process.execPath,
          [resolve('node_modules/typescript/bin/tsc'), ...strict, file],
          { cwd: folder },
          (error, stdout, stderr) => done(error === null ? '' : `${stdout}${stderr}`),
        ),
      ),
      'tsc',
    );
  assert.is(await check('hello/index.js'), '');
  const code = readFileSync(join(folder, 'hello/index.js'), 'utf8');
  write(join(folder, 'hello/index.js'), code.replace('res.writeHead(200,', "res.writeHead('200',"));
  assert.match(await check('hello/index.js'), /'string' is not assignable to .*'number'/);
});

const dev = suite('noslate-fc init, then dev', { skip: NOT_LINUX });

dev('should be served as it is deployed', async () => {
  const folder = temporary();
  await made(folder, '--name', 'shop');
  const child = endWithUs(
    spawn(process.execPath, [SERVER_FILE, 'dev', '--listen', '127.0.0.1:0', '--console', '0'], {
      cwd: folder,
      stdio: 'pipe',
    }),
  );
  const { line, lines, exit } = observe(child);
  try {
    const { url } = await line('listening', ({ event }) => event === 'listening');
    const { remarks } = await line('deployment', ({ event }) => event === 'deployment');
    assert.equal(remarks, []);
    const port = Number(new URL(String(url)).port);
    assert.is((await ask(port, { path: '/you' })).body.toString(), 'Hello from /you\n');
    const invoke = { method: 'POST', path: '/2023-03-30/functions/shop/invocations' };
    const { stdout } = await run(['event', 'timer']);
    const reply = await ask(port, { ...invoke, body: stdout });
    assert.is(reply.body.toString(), '{"keys":["triggerTime","triggerName","payload"]}\n');
    const failed = await ask(port, { ...invoke, body: 'no JSON' });
    assert.is(failed.body.toString(), '{"error":"expected JSON"}\n');
    assert.ok(lines().some(({ event, status }) => event === 'initialized' && status === 200));
    child.stdin?.write('quit\n');
    assert.is(await within(30_000, exit, 'the end'), 0);
  } finally {
    const instances = lines().flatMap(({ instance }) => (instance === undefined ? [] : [String(instance)]));
    signalAll(
      [...new Set(instances)].flatMap(id => holders('FC_INSTANCE_ID', id)),
      'SIGKILL',
    );
    child.kill('SIGKILL');
  }
});

init.run();
types.run();
dev.run();
