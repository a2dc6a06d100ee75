import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { project, run, SERVER_FILE, suite, temporary, write } from './helpers.ts';

const GOOD = 'exports.handler = async () => {};';

interface Checked {
  code: number | string;
  /** Lines of stdout. */
  said: string[];
  /** Lines of stderr, without the name in front. */
  problems: string[];
}

/** Runs `--check` in a folder. */
async function check(folder: string, args: string[] = [], env: Record<string, string> = {}): Promise<Checked> {
  const { code, stdout, stderr } = await run(['--check', ...args], env, folder);
  const lines = (text: string): string[] => text.split('\n').slice(0, -1);
  return { code, said: lines(stdout), problems: lines(stderr).map(line => line.replace(/^noslate-fc: /, '')) };
}

const checking = suite('check');

checking('should say what it has looked at, and open no port', async () => {
  const folder = project({ hello: GOOD, other: GOOD }, { services: [], routes: [{ path: '/', function: 'hello' }] });
  assert.equal(await check(folder, ['--port', '1']), {
    code: 0,
    said: [
      'checked: settings, agent local',
      'checked: noslate.json, functions: 2, services: 0, routes: 1',
      'checked: function hello: its code loads, and has what the profile names',
      'checked: function other: its code loads, and has what the profile names',
      'ok',
    ],
    problems: [],
  });
  const { said } = await check(temporary());
  assert.equal(said, ['checked: settings, agent local', 'checked: no noslate.json', 'ok']);
});

checking('should find what a call would find of the code, in a file of another folder', async () => {
  const cases: [source: string | undefined, profile: object, problem: RegExp][] = [
    [undefined, {}, /^functions\[0\]\.url: no folder .*\/f$/],
    [GOOD, { url: './f/index.js' }, /^functions\[0\]\.url: expected a folder, got the file .*\/f\/index\.js$/],
    [GOOD, { handler: 'main.handler' }, /^functions\[0\]\.handler: expected a file main\.js in .*\/f, got none$/],
    [
      'exports.handle = 1; exports.other = 2;',
      {},
      /^functions\[0\]\.handler: expected a function, got none: index exports handle, other$/,
    ],
    ['exports.handler = {};', {}, /handler: expected a function, got object: index exports handler$/],
    ['module.exports = null;', {}, /handler: expected a function, got none: index exports nothing$/],
    [
      'exports.handler = () => {};\nexports.nothing.at.all();',
      {},
      /handler: index cannot be loaded: TypeError: Cannot read properties of undefined \(reading 'at'\) \(index\.js:2:17\)$/,
    ],
    ['exports.handler = () => {', {}, /handler: index cannot be loaded: SyntaxError: .* \(index\.js:\d+\)$/],
    [
      "require('no-such-package');",
      {},
      /handler: index cannot be loaded: Error: Cannot find module 'no-such-package' \(index\.js:1:1\)$/,
    ],
    ["throw 'a string';", {}, /handler: index cannot be loaded: a string$/],
    ['process.exit(3);', {}, /handler: its code ends the process that loads it, by exit code 3$/],
    ["process.kill(process.pid, 'SIGKILL');", {}, /handler: its code ends the process that loads it, by SIGKILL$/],
    ['for (;;);', { worker: { initializationTimeout: 500 } }, /its code takes longer to load than 500 ms$/],
    [GOOD, { worker: { execArgv: ['--no-such-option'] } }, /its code ends the process that loads it, by exit code 9$/],
    [GOOD, { initializer: 'index.setUp' }, /^functions\[0\]\.initializer: expected a function, got none/],
  ];
  for (const [source, profile, expected] of cases) {
    const folder = project(
      { f: source ?? '' },
      {},
      { f: { ...(source === undefined && { url: '../f' }), ...profile } },
    );
    const file = join(folder, 'noslate.json');
    const { code, said, problems } = await check(temporary(), ['--config', file]);
    const ours = problems.filter(line => line.startsWith(file)).map(line => line.slice(file.length + 2));
    assert.equal([code, ours.length, said[said.length - 1]], [78, 1, '1 to mend'], `${source}\n${problems.join('\n')}`);
    assert.match(ours[0] ?? '', expected);
  }
});

checking('should tell what lies there in place of the file that is asked for', async () => {
  const folder = project({ f: GOOD }, {}, { f: { handler: 'main.handler' } });
  write(join(folder, 'f/main.ts'), '');
  assert.match((await check(folder)).problems[0] ?? '', /expected a file main\.js in .*\/f, got main\.ts$/);
});

checking('should load the code as a worker does, and call nothing', async () => {
  const source = `const { env } = process;
if (env.SECRET !== undefined || env.STAGE !== 'test' || env.OWN !== 'own' || env.HOME !== __dirname)
  throw new Error(JSON.stringify(env));
if (process.argv.length !== 2) throw new Error(process.argv.join());
console.log('printed by the code');
setInterval(() => {}, 1000);
exports.handler = () => { throw new Error('called'); };
exports.setUp = exports.handler;`;
  const folder = project(
    { f: source },
    { environments: [{ key: 'STAGE', value: 'test' }] },
    { f: { initializer: 'index.setUp', environments: [{ key: 'OWN', value: 'own' }] } },
  );
  const { code, said, problems } = await check(folder, [], { SECRET: 'x' });
  assert.equal([code, problems], [0, ['printed by the code']]);
  assert.is(said[said.length - 1], 'ok');
});

checking("should load it by Noslate's Node.js, where that will run it", async () => {
  const folder = project({ f: GOOD });
  const noslate = temporary();
  const used = join(noslate, 'used');
  for (const name of ['turf', 'data_plane', 'control_plane']) write(join(noslate, 'bin', name), '');
  write(join(noslate, 'bin/node'), `#!/bin/sh\necho "$1" >>'${used}'\nexec '${process.execPath}' "$@"\n`);
  chmodSync(join(noslate, 'bin/node'), 0o755);
  const env = { NOSLATE_PATH: noslate, NOSLATED_WORKDIR: noslate };
  write(
    join(folder, 'noslate.json'),
    readFileSync(join(folder, 'noslate.json'), 'utf8').replace(
      '"signature":"1"',
      '"signature":"1","worker":{"v8Options":["--stack-size=900"]}',
    ),
  );
  const { code, problems } = await check(folder, [], env);
  assert.equal([code, problems], [0, []]);
  assert.is(readFileSync(used, 'utf8'), '--stack-size=900\n');
  assert.is((await check(folder, ['--agent', 'local'], env)).code, 0);
  assert.is(readFileSync(used, 'utf8'), '--stack-size=900\n');
});

checking('should look for what it does not run, and say what it does not look at', async () => {
  const folder = temporary();
  const aworker = { runtime: 'aworker', url: './a', signature: '1' };
  const functions = [
    { ...aworker, name: 'a', sourceFile: 'app.js' },
    { ...aworker, name: 'b', sourceFile: 'none.js' },
    { name: 'c', runtime: 'nodejs', url: 'https://host.example/c.zip', handler: 'index.handler', signature: '1' },
  ];
  write(join(folder, 'a/app.js'), 'this is not run');
  write(join(folder, 'noslate.json'), JSON.stringify({ functions }));
  const native = await check(folder, [], { NOSLATED_WORKDIR: folder });
  assert.equal(native, {
    code: 78,
    said: [
      'checked: settings, agent native',
      `checked: NOSLATED_WORKDIR, ${folder}`,
      'checked: noslate.json, functions: 3, services: 0, routes: 0',
      'checked: function a: app.js is there; a script of aworker is not run',
      'not checked: function c: https://host.example/c.zip is not fetched',
      '1 to mend',
    ],
    problems: [`noslate.json: functions[1].sourceFile: expected a script, got no file ${join(folder, 'a/none.js')}`],
  });
  const local = await check(folder);
  const only = 'the local agent runs nodejs functions in folders alone';
  assert.equal(
    local.said.filter(line => line.startsWith('warning')),
    [0, 1, 2].map(i => `warning: noslate.json: functions[${i}]: ${only}`),
  );
});

checking('should warn of what keeps nothing from working', async () => {
  const environments = [{ key: 'ALL', value: 'x'.repeat(1000) }];
  const own = { environments: [{ key: 'OWN', value: 'é'.repeat(800) }] };
  const folder = project({ f: GOOD, g: GOOD }, { environments }, { f: own });
  const { code, said } = await check(folder, [], { SERVER_MAXBODY: '1' });
  assert.is(code, 0);
  assert.equal(
    said.filter(line => !line.startsWith('checked')),
    [
      'warning: SERVER_MAXBODY: unknown variable, did you mean SERVER_MAX_BODY?',
      'warning: noslate.json: functions[0].environments: 2614 bytes with those of all functions, and turfd may refuse more than 2500',
      'ok',
    ],
  );
  write(join(folder, 'noslate.json'), '{ "functions": [],\n  "functions": [] }');
  assert.ok(
    (await check(folder)).said.includes(
      'warning: noslate.json: line 2, column 3: the key "functions" is there already, on line 1; the last counts',
    ),
  );
});

checking('should find all there is to mend, not the first alone', async () => {
  const folder = temporary();
  const sound = { name: 'a', runtime: 'nodejs', url: './none', handler: 'index.handler', signature: '1' };
  write(join(folder, 'noslate.json'), JSON.stringify({ functions: [{ name: 'b' }, sound], route: [] }));
  const { problems } = await check(folder, ['--prot', '1', '--log', 'loud', 'serve'], { SERVER_PORT: 'x' });
  const faults = problems.map(line => line.replace(/ missing, .*| got .*/, ''));
  assert.equal(faults.sort(), [
    '--log: expected json, pretty, off,',
    '--prot: unknown flag, did you mean --port?',
    'SERVER_PORT: expected a whole number from 0 to 65535,',
    `noslate.json: functions[0].runtime:`,
    `noslate.json: functions[0].signature:`,
    `noslate.json: functions[0].url:`,
    `noslate.json: functions[1].url: no folder ${join(folder, 'none')}`,
    'noslate.json: route: unknown key, did you mean routes?',
    'serve: unknown argument, see --help',
  ]);
});

checking("should find that Noslate's folders are none, or are empty", async () => {
  const folder = project({});
  const file = join(folder, 'noslate.json');
  const none = join(folder, 'none');
  const cases: [env: Record<string, string>, problems: string[], warnings: string[]][] = [
    [{ NOSLATE_PATH: none }, [`NOSLATE_PATH: no folder ${none}`], []],
    [{ NOSLATE_PATH: file }, [`NOSLATE_PATH: expected a folder, got the file ${file}`], []],
    [{ NOSLATE_PATH: folder }, [], [`NOSLATE_PATH: no node, turf, data_plane, control_plane in ${folder}/bin`]],
    [{ NOSLATED_WORKDIR: none }, [], [`NOSLATED_WORKDIR: no folder ${none} yet`]],
    [{ NOSLATED_WORKDIR: file }, [`NOSLATED_WORKDIR: expected a folder, got the file ${file}`], []],
    [
      { NOSLATED_WORKDIR: folder, TURF_WORKDIR: file, NOSLATE_LOGDIR: `${file}/logs` },
      [`TURF_WORKDIR: expected a folder, got the file ${file}`],
      [`NOSLATE_LOGDIR: no folder ${file}/logs yet`],
    ],
    [
      { NOSLATE_PATH: folder, SERVER_AGENT: 'sdk' },
      [`NOSLATE_PATH: expected a package that exports NoslatedClient: expected a package in ${folder}, got none`],
      [],
    ],
  ];
  for (const [env, problems, warnings] of cases) {
    const found = await check(folder, [], env);
    assert.equal(found.problems, problems);
    assert.equal(
      found.said.filter(line => line.startsWith('warning')),
      warnings.map(line => `warning: ${line}`),
    );
    assert.is(found.code, problems.length > 0 ? 78 : 0);
  }
  const sdk = { NOSLATE_PATH: 'dist-test/sdk/noslate', SERVER_AGENT: 'sdk' };
  assert.equal((await run(['--check'], sdk)).stderr, '');
});

const file = suite('a noslate.json that cannot be read');

file('should be told in the same words by a check and by a start', async () => {
  const folder = temporary();
  const at = (name: string): string => join(folder, name);
  mkdirSync(at('folder'));
  writeFileSync(at('empty.json'), '');
  writeFileSync(at('list.json'), '[]');
  writeFileSync(at('comma.json'), '{\n  "functions": [],\n}\n');
  writeFileSync(at('utf16.json'), Buffer.from('\ufeff{}', 'utf16le'));
  writeFileSync(at('mark.json'), '\ufeff{}');
  const cases: [name: string, problem: string | undefined][] = [
    ['none.json', 'no such file'],
    ['empty.json/x', 'no such file'],
    ['folder', 'expected a file, got a folder'],
    ['empty.json', 'line 1, column 1: expected an object, got an empty file'],
    ['list.json', 'the file: expected an object, got []'],
    ['comma.json', 'line 2, column 18: expected no comma before }'],
    ['utf16.json', 'line 1, column 1: expected UTF-8, got another encoding'],
    ['mark.json', undefined],
  ];
  for (const [name, problem] of cases) {
    const checked = await check(folder, ['--config', name]);
    assert.equal(checked.problems, problem === undefined ? [] : [`${name}: ${problem}`]);
    if (problem === undefined) continue;
    const { code, stderr } = await run(['--config', at(name), '--port', '0']);
    assert.equal([code, stderr], [78, `noslate-fc: ${at(name)}: ${problem}\n`]);
  }
});

file('should be told when it is that we may not read it', async () => {
  const folder = temporary();
  copyFileSync(SERVER_FILE, join(folder, 'server.js'));
  writeFileSync(join(folder, 'noslate.json'), '{}');
  chmodSync(folder, 0o755);
  chmodSync(join(folder, 'noslate.json'), 0);
  // root may read all
  const user = process.getuid?.() === 0 ? { uid: 65534 } : {};
  // nor may that user leave counts of coverage, of which Node.js would tell
  const env = { NODE_V8_COVERAGE: undefined };
  const { status, stderr } = spawnSync(process.execPath, ['server.js'], { cwd: folder, env, ...user });
  assert.equal([status, `${stderr}`], [78, 'noslate-fc: noslate.json: no permission to read it\n']);
});

checking.run();
file.run();
