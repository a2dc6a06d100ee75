import * as assert from 'uvu/assert';
import { type Config, readConfig } from '../src/config.ts';
import { nearest } from '../src/nearest.ts';
import { project, run, suite, write } from './helpers.ts';

const config = suite('config');

const readOk = (env: Record<string, string>, ...args: string[]): Config => readConfig(env, args, () => false).config;

const problems = (env: Record<string, string>, ...args: string[]): readonly string[] =>
  readConfig(env, args, () => false).problems;

config('should have a default for everything', () => {
  const { port, host, agent, timeout, drainTimeout, maxBody, maxConcurrency, healthPath, log, fcLog } = readOk({});
  assert.equal(
    { port, host, agent, timeout, drainTimeout, maxBody, maxConcurrency, healthPath, log, fcLog },
    {
      port: 9000,
      host: '0.0.0.0',
      agent: 'local',
      timeout: 60,
      drainTimeout: 10,
      maxBody: 0,
      maxConcurrency: 0,
      healthPath: undefined,
      log: 'json',
      fcLog: 'off',
    },
  );
});

config('should look at FC’s names of the port in order, flags first', () => {
  assert.is(readOk({ FC_CUSTOM_LISTEN_PORT: '1' }).port, 1);
  assert.is(readOk({ FC_CUSTOM_LISTEN_PORT: '1', FC_SERVER_PORT: '2' }).port, 2);
  assert.is(readOk({ FC_SERVER_PORT: '2', SERVER_PORT: '3' }).port, 3);
  assert.is(readOk({ SERVER_PORT: '3' }, '--port', '4').port, 4);
  assert.is(readOk({ SERVER_PORT: '3' }, '--port=5').port, 5);
  assert.is(readOk({ SERVER_PORT: '', FC_SERVER_PORT: '2' }).port, 2);
});

config('should choose the agent and the log by the surroundings', () => {
  assert.is(readOk({ NOSLATE_PATH: '/n' }).agent, 'native');
  assert.is(readOk({ NOSLATED_WORKDIR: '/n' }).agent, 'native');
  assert.is(readOk({ NOSLATE_PATH: '/n', SERVER_AGENT: 'local' }).agent, 'local');
  assert.is(readConfig({}, [], () => true).config.log, 'pretty');
  assert.is(readConfig({ NOSLATE_PATH: '/n' }, [], () => true).config.log, 'json');
});

config('should name every bad value, what was given and what is allowed', () => {
  assert.equal(
    problems({ SERVER_PORT: '70000', SERVER_LOG: 'loud', SERVER_FC_LOG: 'yes', SERVER_HEALTH_PATH: 'health' }),
    [
      'SERVER_PORT: expected a whole number from 0 to 65535, got "70000"',
      'SERVER_HEALTH_PATH: expected a path that starts with "/", got "health"',
      'SERVER_LOG: expected json, pretty, off, got "loud"',
      'SERVER_FC_LOG: expected on or 1, off or 0, got "yes"',
    ],
  );
  for (const value of ['0', '-1', '1.5', 'x', '1e3', '2147484'])
    assert.match(problems({ SERVER_TIMEOUT: value })[0] ?? '', 'SERVER_TIMEOUT', value);
  assert.equal(problems({}, '--port'), ['--port: expected a value, got none']);
  assert.match(problems({}, '--port', 'x')[0] ?? '', '--port: expected a whole number');
  assert.equal(problems({}), []);
});

config('should keep the default of what is bad, to look for more', () => {
  const { config, problems } = readConfig(
    { SERVER_AGENT: 'nativ', SERVER_PORT: 'x', SERVER_TIMEOUT: '5' },
    [],
    () => false,
  );
  assert.equal([config.agent, config.port, config.timeout, problems.length], ['local', 9000, 5, 2]);
});

config('should take no flag for the value of another, and no value for an argument', () => {
  assert.equal(problems({}, '--config', '--port', '1'), ['--config: expected a value, got none']);
  assert.equal(problems({}, '--timeout', '-1'), ['--timeout: expected a whole number from 1 to 2147483, got "-1"']);
  assert.equal(problems({}, '--check=no'), ['--check: expected no value, got "no"']);
  // one problem, not one for its value too
  assert.is(problems({}, '--nonsense', '1').length, 1);
  assert.is(problems({}, '--nonsense', '--neither').length, 2);
});

config('should say what was probably meant', () => {
  assert.equal(problems({}, '--prot', '1'), ['--prot: unknown flag, did you mean --port?']);
  assert.equal(problems({}, '--maxbody=1'), ['--maxbody: unknown flag, did you mean --max-body?']);
  assert.equal(problems({}, '--max_concurency', '1'), [
    '--max_concurency: unknown flag, did you mean --max-concurrency?',
  ]);
  assert.equal(problems({}, 'check'), ['check: unknown argument, did you mean --check?']);
  assert.match(problems({}, '--verbose')[0] ?? '', /^--verbose: unknown flag, see --help$/);
  const names = ['port', 'host', 'max-body', 'drain-timeout', 'x'];
  const cases: [string, string | undefined][] = [
    ['prot', 'port'],
    ['por', 'port'],
    ['ports', 'port'],
    ['pert', 'port'],
    ['HOST', 'host'],
    ['drain_timout', 'drain-timeout'],
    // of two that are as near, the first
    ['post', 'port'],
    ['help', undefined],
    ['y', undefined],
    ['', undefined],
  ];
  for (const [given, meant] of cases) assert.is(nearest(given, names), meant, given);
});

config('should warn of a variable that looks like ours and is not', () => {
  assert.equal(readOk({ SERVER_MAXBODY: '1', SERVER_NAME: 'x', SERVER_PROT: '1', PATH: '/bin' }).warnings, [
    'SERVER_MAXBODY: unknown variable, did you mean SERVER_MAX_BODY?',
    'SERVER_NAME: unknown variable, see --help',
    'SERVER_PROT: unknown variable, did you mean SERVER_PORT?',
  ]);
});

config.run();

const commandLine = suite('command line');

commandLine('should print help and version', async () => {
  const help = await run(['--help']);
  assert.is(help.code, 0);
  for (const name of ['SERVER_MAX_BODY', '--max-body', 'NOSLATE_PATH', '--check']) assert.match(help.stdout, name);
  assert.match((await run(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
  // who asks for it has made a mistake already
  const asked = await run(['--prot', '1', '--help'], { SERVER_PORT: 'x' });
  assert.equal([asked.code, asked.stdout], [0, help.stdout]);
});

commandLine('should end with 78 and say why', async () => {
  const folder = project({});
  write(`${folder}/noslate.json`, '{ "functions": [{ "name": "a" }], "extra": 1 }');
  const sdk = ['--agent', 'sdk', '--port', '0', '--config', `${project({})}/noslate.json`];
  const cases: [string[], Record<string, string>, RegExp][] = [
    [['--check'], {}, /^noslate-fc: noslate\.json: functions\[0\]\.runtime: missing/m],
    [[], {}, /extra: unknown key, expected one of /],
    [['--config', 'nowhere.json'], {}, /nowhere\.json: no such file/],
    [[], { SERVER_PORT: 'x' }, /SERVER_PORT: expected a whole number/],
    [['--what'], {}, /--what: unknown flag/],
    [['--agent', 'native'], {}, /SERVER_AGENT: native expects NOSLATED_WORKDIR or NOSLATE_PATH, got neither/],
    [['--agent', 'sdk'], {}, /SERVER_AGENT: sdk expects NOSLATE_PATH, got none/],
    [
      sdk,
      { NOSLATE_PATH: folder },
      /NOSLATE_PATH: expected the folder of Noslate's SDK, .*, got ".*": Cannot find module/,
    ],
  ];
  for (const [args, env, expected] of cases) {
    const { code, stderr } = await run(args, env, folder);
    assert.is(code, 78, args.join(' '));
    assert.match(stderr, expected);
    assert.not.match(stderr, /\n\s+at /);
  }
});

commandLine('should say all that keeps it from starting, not the first alone', async () => {
  const folder = project({});
  write(`${folder}/noslate.json`, '{ "functions": [');
  const { code, stderr } = await run(['--port', 'x'], { SERVER_LOG: 'loud' }, folder);
  assert.is(code, 78);
  assert.equal(stderr.split('\n'), [
    'noslate-fc: --port: expected a whole number from 0 to 65535, got "x"',
    'noslate-fc: SERVER_LOG: expected json, pretty, off, got "loud"',
    'noslate-fc: noslate.json: line 1, column 17: expected ] for the [ of line 1, got the end of the file',
    '',
  ]);
});

commandLine('should say that the port is taken', async () => {
  const { createServer } = await import('node:net');
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise<void>(done => taken.on('listening', () => done()));
  const { port } = taken.address() as { port: number };
  const { code, stderr } = await run(['--port', String(port), '--host', '127.0.0.1']);
  taken.close();
  assert.equal([code, stderr], [1, `noslate-fc: SERVER_PORT: port ${port} is taken by another process\n`]);
  const host = await run(['--port', '0', '--host', '192.0.2.1']);
  assert.equal(
    [host.code, host.stderr],
    [1, 'noslate-fc: SERVER_HOST: expected an address of this machine, got "192.0.2.1"\n'],
  );
});

commandLine.run();
