import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, readFileSync, realpathSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { basename, dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { WebSocket } from 'ws';
import type { Deployed } from '../../src/desk/deployment/deployed.ts';
import { deployment, findDeployment, overruled, winners } from '../../src/desk/deployment.ts';
import type { LifeEvent } from '../../src/desk/fc/life.ts';
import { freePort } from '../../src/desk/fc/port.ts';
import { holders, signalAll, unplayed } from '../../src/desk/fc/processes.ts';
import { SWITCHES } from '../../src/desk/fc/settings.ts';
import { helpText, readFlags } from '../../src/desk/flags.ts';
import { createScreen, createStatus } from '../../src/desk/view/status.ts';
import { createReport, type Report } from '../../src/desk/view/terminal.ts';
import { painter, waitingWords } from '../../src/desk/view/words.ts';
import {
  ask,
  deferred,
  endWithUs,
  eventually,
  get,
  type LogLine,
  observe,
  project,
  type Reply,
  raw,
  SERVER_FILE,
  suite,
  temporary,
  within,
  without,
  write,
} from '../helpers.ts';

const fc = suite('noslate-fc dev');

const COMMAND = [SERVER_FILE, 'dev'];
const HELLO = `exports.handler = async (_ctx, _req, res) => { res.writeHead(200); res.end('hello'); };`;

/** A container with a hook for everything; it prints its signals, and takes its time on /slow. */
const SERVER = `
const { createServer } = require('node:http');
createServer((req, res) => {
  if (req.url === '/slow') return void console.log('slow');
  console.log(req.url);
  res.end(JSON.stringify(process.env));
}).listen(Number(process.argv[2]));
process.on('SIGTERM', () => { console.log('SIGTERM'); process.exit(0); });
`;

/** The command, running. */
interface Command {
  readonly process: ChildProcess;
  readonly port: number;
  readonly exit: Promise<number | string>;
  /** Resolves with the first event, earlier or later, that passes; the deadline is its own. */
  event(name: string, test?: (event: LogLine) => boolean): Promise<LogLine>;
  events(): LogLine[];
  output(): string;
  /** Writes a line to it. */
  say(words: string): void;
  ask(path: string): Promise<Reply>;
}

/** Runs a test's body with the command, which is then told to quit and must leave nothing. */
async function withCommand(
  args: readonly string[],
  body: (command: Command) => Promise<void>,
  cwd: string = process.cwd(),
): Promise<void> {
  const command = await start(args, cwd);
  try {
    await body(command);
    command.process.kill('SIGINT');
    const code = await within(30_000, command.exit, 'the command to end');
    assert.ok(code === 0 || code === 130, `it ends with ${code}`);
    assertNothingLeft(command);
  } catch (error) {
    if (error instanceof Error) error.message += `\n--- output\n${command.output().slice(-3000)}`;
    throw error;
  } finally {
    command.process.kill('SIGKILL');
    killLeftovers(command);
  }
}

async function start(args: readonly string[], cwd: string): Promise<Command> {
  const command = [...COMMAND, '--listen', '127.0.0.1:0', '--console', '0', ...args];
  const child = endWithUs(spawn(process.execPath, command, { stdio: 'pipe', cwd }));
  const { output, lines, line, exit } = observe(child);
  const listening = await line('listening', ({ event }) => event === 'listening');
  const port = Number(new URL(String(listening['url'])).port);
  return {
    process: child,
    port,
    exit,
    output,
    events: lines,
    event: (name, test = () => true) => line(name, entry => entry['event'] === name && test(entry)),
    say: words => child.stdin?.write(`${words}\n`),
    ask: path => ask(port, { path }),
  };
}

const instancesOf = ({ events }: Command): string[] => [
  ...new Set(events().flatMap(({ instance }) => (instance === undefined ? [] : [String(instance)]))),
];

/** Its containers' processes. */
const leftBy = (command: Command): number[] => instancesOf(command).flatMap(id => holders('FC_INSTANCE_ID', id));

function assertNothingLeft(command: Command): void {
  assert.equal(leftBy(command), []);
}

function killLeftovers(command: Command): void {
  signalAll(leftBy(command), 'SIGKILL');
}

/** Flags for the server above. */
function ownServer(source: string = SERVER): string[] {
  const folder = temporary();
  write(join(folder, 'server.js'), source);
  return ['--command', `${process.execPath} "${join(folder, 'server.js')}" PORT`];
}

/** Runs the command to its end. */
async function run(
  args: readonly string[],
  cwd: string = process.cwd(),
): Promise<{ code: number | string; stdout: string; stderr: string }> {
  const child = endWithUs(spawn(process.execPath, [...COMMAND, ...args], { stdio: ['ignore', 'pipe', 'pipe'], cwd }));
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', text => (stdout += text));
  child.stderr?.on('data', text => (stderr += text));
  const code = await within(
    20_000,
    new Promise<number | string>(done => child.on('close', (status, signal) => done(status ?? signal ?? 'unknown'))),
    'the command to end',
  );
  return { code, stdout, stderr };
}

fc('should show a function’s life from the start to the end', async () => {
  await withCommand(['--config', join(project({ hello: HELLO }), 'noslate.json'), '--pre-stop'], async command => {
    const first = await command.event('frozen');
    const reply = await command.ask('/');
    assert.is(reply.body.toString(), 'hello');
    const answer = await command.event('answer');
    assert.is(answer['requestId'], reply.headers['x-fc-request-id']);
    await command.event('frozen', ({ at }) => Number(at) > Number(first['at']));
    command.say('quit');
    assert.is(await within(30_000, command.exit, 'the end'), 0);
    const names = command.events().map(({ event }) => event);
    assert.equal(
      names.filter(name => name !== 'log'),
      // biome-ignore format: the life in its phases
      [
        'listening',
        'starting', 'accepting', 'initialized', 'ready', 'frozen',
        'call', 'request', 'thawed', 'head', 'answer', 'frozen',
        'quitting', 'stopping', 'thawed', 'pre-stop', 'exited', 'quit',
      ],
    );
    const quit = await command.event('quit');
    assert.equal([quit['requests'], quit['failed'], quit['instances']], [1, 0, 1]);
  });
});

fc('should do what it is told line by line', async () => {
  await withCommand(ownServer(), async command => {
    await command.event('frozen');
    command.say('thaw');
    const thawed = await command.event('thawed');
    command.say('freeze');
    await command.event('frozen', ({ at }) => Number(at) >= Number(thawed['at']) && at !== undefined);
    command.say('scale 3');
    await command.event('scaled', ({ instances }) => instances === 3);
    await eventually('three that are ready', async () => count(command, 'ready') === 3);
    command.say('less');
    await command.event('stopping', ({ reason }) => reason === 'scaled in');
    command.say('crash');
    const exited = await command.event('exited', ({ expected }) => expected === false);
    assert.is(exited['signal'], 'SIGKILL');
    command.say('stop');
    await eventually('all to end', async () => count(command, 'exited') === 3);
    command.say('start');
    await eventually('a new one', async () => count(command, 'ready') === 4);
    command.say('more');
    await eventually('one more', async () => count(command, 'ready') === 5);
    command.say('scale 11');
    assert.is((await command.event('refused'))['count'], 11);
    command.say('dance');
    assert.is((await command.event('unknown'))['word'], 'dance');
    command.say('help');
    await command.event('help');
    assert.is((await command.ask('/')).status, 200);
  });
});

const count = ({ events }: Command, name: string): number => events().filter(({ event }) => event === name).length;

fc('should end properly at SIGTERM, SIGHUP and with the terminal gone', async () => {
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) {
    await withCommand([...ownServer(), '--no-initializer'], async command => {
      await command.event('frozen');
      if (signal === 'SIGHUP') {
        command.process.stdout?.destroy();
        command.process.stderr?.destroy();
      }
      command.process.kill(signal);
      assert.is(await within(20_000, command.exit, `the end by ${signal}`), 0);
      assertNothingLeft(command);
    });
  }
});

fc('should wait for what is in flight, and kill at a second Ctrl-C', async () => {
  await withCommand([...ownServer(), '--pre-stop', '5'], async command => {
    const client = await raw(command.port, get('/slow'));
    await command.event('log', ({ line }) => line === 'slow');
    command.process.kill('SIGINT');
    assert.is((await command.event('quitting'))['inFlight'], 1);
    command.process.kill('SIGINT');
    assert.is(await within(20_000, command.exit, 'the end'), 130);
    // killed is not yet gone
    await eventually('the end of all processes', async () => leftBy(command).length === 0);
    client.socket.destroy();
  });
});

fc('should show why a start has failed, and start again when it is asked', async () => {
  const folder = project({ hello: HELLO });
  const file = join(folder, 'noslate.json');
  const good = readFileSync(file, 'utf8');
  write(file, good.replace('"handler"', '"handlr"'));
  await withCommand(['--config', file], async command => {
    const failed = await command.event('start failed');
    assert.is(failed['code'], 'CAExited');
    assert.match(String(failed['message']), /Logs:.*functions\[0\]\.handlr/s);
    const refused = await command.ask('/');
    assert.is(refused.status, 412);
    assert.match(String(refused.json()['Message']), /functions\[0\]\.handlr/);
    write(file, good);
    assert.is((await command.ask('/')).body.toString(), 'hello');
  });
});

fc('should run new code when a file has changed', async () => {
  const folder = project({ hello: HELLO });
  await withCommand(['--config', join(folder, 'noslate.json')], async command => {
    assert.is((await command.ask('/')).body.toString(), 'hello');
    write(join(folder, 'hello/index.js'), HELLO.replace("'hello'", "'changed'"));
    const stopping = await command.event('stopping');
    assert.is(stopping['reason'], 'code changed');
    assert.is((await command.ask('/')).body.toString(), 'changed');
    assert.is(count(command, 'starting'), 2);
  });
});

fc('should leave the code as it is when nothing is watched', async () => {
  const folder = project({ hello: HELLO });
  const file = join(folder, 'noslate.json');
  await withCommand(['--config', file, '--watch', 'off'], async command => {
    assert.is((await command.ask('/')).body.toString(), 'hello');
    write(join(folder, 'hello/other.js'), '');
    write(file, `${readFileSync(file, 'utf8')}\n`);
    // the container follows its noslate.json by itself, at the same moments at which code would be looked at
    await eventually('its word', async () => {
      await command.ask('/');
      return command.events().some(({ line }) => String(line).includes('configuration reloaded'));
    });
    assert.equal([count(command, 'starting'), count(command, 'stopping')], [1, 0]);
  });
});

const SLOW_THINKER = `exports.handler = async (_ctx, _req, res) => {
  const begun = Date.now();
  debugger;
  res.writeHead(200);
  res.end(String(Date.now() - begun));
};`;

fc('should wait as long as a debugger stops a function, and not any more when it has left', async () => {
  const folder = project({ hello: SLOW_THINKER });
  const inspect = await freePort();
  const args = ['--config', join(folder, 'noslate.json'), '--inspect', String(inspect), '--timeout', '1'];
  await withCommand(args, async command => {
    assert.is((await command.ask('/')).status, 200, 'nothing waits for a debugger');
    await command.event('frozen');
    const [target] = JSON.parse(String((await ask(inspect, { path: '/json/list' })).body)) as [Target];
    assert.is(new URL(target.webSocketDebuggerUrl).port, String(inspect));
    const debuggers = new WebSocket(target.webSocketDebuggerUrl);
    const { attached, paused } = debugWorkers(debuggers);
    await within(10_000, attached, 'the debugger to get in');
    const call = command.ask('/');
    const resume = await within(10_000, paused, 'the function to stop at its breakpoint');
    // no event tells that nothing ends it at the function's own limit
    await new Promise(done => setTimeout(done, 1500));
    assert.is(count(command, 'answer'), 1, 'the first call alone is over');
    resume();
    const reply = await within(10_000, call, 'its answer');
    assert.is(reply.status, 200);
    assert.ok(Number(String(reply.body)) >= 1000);
    debuggers.terminate();
    await command.event('stopping', ({ reason }) => reason === 'debugger gone');
    assert.is((await command.ask('/')).status, 200, 'nothing stops there any more');
  });
});

/** What can be debugged, as Node.js lists it. */
interface Target {
  readonly webSocketDebuggerUrl: string;
}

/** Debugs all workers: when one is attached, and when one has stopped, with what lets it go on. */
function debugWorkers(debuggers: WebSocket): { attached: Promise<void>; paused: Promise<() => void> } {
  let ids = 0;
  const send = (method: string, params: object): void => debuggers.send(JSON.stringify({ id: ++ids, method, params }));
  const tell = (sessionId: string, method: string): void =>
    send('NodeWorker.sendMessageToWorker', { sessionId, message: JSON.stringify({ id: ++ids, method }) });
  const attached = deferred();
  const paused = deferred<() => void>();
  debuggers.on('open', () => send('NodeWorker.enable', { waitForDebuggerOnStart: false }));
  debuggers.on('message', data => {
    const { method, params } = JSON.parse(String(data));
    if (method === 'NodeWorker.attachedToWorker') tell(params.sessionId, 'Debugger.enable');
    if (method !== 'NodeWorker.receivedMessageFromWorker') return;
    const message = JSON.parse(params.message);
    // what it answers first is that it is enabled
    if (message.id !== undefined) attached.resolve();
    if (message.method === 'Debugger.paused') paused.resolve(() => tell(params.sessionId, 'Debugger.resume'));
  });
  return { attached: attached.promise, paused: paused.promise };
}

fc('should say so when a port is taken, and what to do, or no debugger could reach a function', async () => {
  const server = createServer();
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  for (const [flag, mend] of [
    ['--inspect', 'choose another, --inspect PORT'],
    ['--console', 'choose another, --console PORT, or leave it out, --console off'],
  ] as const) {
    const taken = await run([flag, String(port), '--listen', '127.0.0.1:0', ...ownServer()]);
    assert.equal([taken.code, taken.stdout], [1, '']);
    assert.is(taken.stderr, `noslate-fc dev: ${flag}: port ${port} is taken by another process: ${mend}\n`);
  }
  server.close();
  const image = await run(['--inspect', '--image', temporary()]);
  assert.match(image.stderr, /--inspect: expected noslate\.json or --command with it, got --image/);
});

fc('should run another server, with variables of the user’s', async () => {
  await withCommand(
    [...ownServer(), '--env', 'COLOUR=blue=green', '--name', 'shop', '--memory', '1024'],
    async command => {
      const reply = (await command.ask('/')).json();
      assert.is(reply['COLOUR'], 'blue=green');
      assert.is(reply['FC_FUNCTION_NAME'], 'shop');
      assert.is(reply['FC_FUNCTION_MEMORY_SIZE'], '1024');
      const { port } = await command.event('accepting');
      assert.is(reply['FC_CUSTOM_LISTEN_PORT'], String(port));
      const invoked = await ask(command.port, { path: '/2023-03-30/functions/shop/invocations', body: '' });
      assert.is(invoked.status, 200);
    },
  );
});

fc('should play 2.0 with its hooks', async () => {
  const args = ['--fc', '2.0', '--pre-freeze', '--pre-stop', '--init-timeout', '7', '--switch', 'headerCase=lower'];
  await withCommand([...ownServer(), ...args], async command => {
    assert.is((await command.event('initialized'))['status'], 200);
    assert.is((await command.event('pre-freeze'))['status'], 200);
    const path = '/2016-08-15/services/service/functions/app/invocations';
    assert.is((await ask(command.port, { path, body: '' })).status, 200);
  });
});

fc('should run a container’s start.sh', async () => {
  const folder = temporary();
  write(join(folder, 'server.js'), SERVER);
  write(join(folder, 'start.sh'), `#!/bin/sh\nexec "${process.execPath}" server.js "$FC_CUSTOM_LISTEN_PORT"\n`);
  chmodSync(join(folder, 'start.sh'), 0o755);
  const before = process.env['NOSLATE_PATH'];
  process.env['NOSLATE_PATH'] = '/usr/local/noslate';
  try {
    await withCommand(['--image', folder], async command => {
      assert.is((await command.ask('/')).json()['NOSLATE_PATH'], '/usr/local/noslate');
    });
  } finally {
    if (before === undefined) delete process.env['NOSLATE_PATH'];
    else process.env['NOSLATE_PATH'] = before;
  }
});

fc('should stop an idle instance and check another’s health', async () => {
  await withCommand([...ownServer(), '--idle', '1', '--health', '/healthz'], async command => {
    await command.event('log', ({ line }) => line === '/healthz');
    const stopping = await command.event('stopping');
    assert.is(stopping['reason'], 'idle');
  });
});

for (const [where, listen, mend] of [
  [
    'at another port',
    'listen(0)',
    /^it listens on (::|0\.0\.0\.0):(\d+), not on .*FC_CUSTOM_LISTEN_PORT, or say --port \2$/,
  ],
  [
    'on loopback alone',
    "listen(process.env.FC_CUSTOM_LISTEN_PORT, '127.0.0.1')",
    /^it listens on 127.*: listen on all/,
  ],
] as const) {
  fc(`should say where a server listens instead, and what to do: ${where}`, async () => {
    const source = `require('node:http').createServer((req, res) => res.end()).${listen}`;
    await withCommand(ownServer(source), async command => {
      const { port, ms, found } = await command.event('waiting');
      assert.match(waitingWords(Number(port), Number(ms), found as string[]), mend);
    });
  });
}

fc('should say what listens nowhere', async () => {
  const folder = temporary();
  write(join(folder, 'idle.js'), 'setInterval(() => {}, 1000)');
  await withCommand(['--command', `${process.execPath} '${join(folder, 'idle.js')}'`], async command => {
    const { port } = await command.event('starting');
    const waiting = await command.event('waiting');
    assert.equal([waiting['port'], waiting['found']], [port, []]);
  });
});

fc('should name a bad flag, what was given and what is allowed', async () => {
  // biome-ignore format: a table
  const bad: [string[], RegExp][] = [
    [['--nonsense'], /^noslate-fc dev: --nonsense: unknown flag, expected one of --config, /],
    [['-stray'], /^noslate-fc dev: -stray: unknown flag/],
    [['--timeout', '0'], /^noslate-fc dev: --timeout: expected a whole number from 1 to 86400, got "0"$/m],
    [['--timeout'], /^noslate-fc dev: --timeout: expected a value, got none$/m],
    [['--fc', '4.0'], /^noslate-fc dev: --fc: expected 3\.0 or 2\.0, got "4\.0"$/m],
    [['--listen', 'localhost:99999'], /^noslate-fc dev: --listen: expected HOST:PORT, HOST or PORT, got/],
    [['--command', 'node "open'], /^noslate-fc dev: --command: expected a command, its quotes closed, got/],
    [['--env', 'FC_REGION=x'], /^noslate-fc dev: --env: expected KEY=VALUE, and no FC_\* key/],
    [['--switch', 'sigterm=maybe'], /^noslate-fc dev: --switch: switch "sigterm": expected yes or no, got "maybe"$/m],
    [['--switch', 'nothing=1'], /^noslate-fc dev: --switch: switch "nothing": expected one of startErrorStatus, /],
    [['--pre-freeze'], /^noslate-fc dev: --pre-freeze: expected --fc 2\.0 with it/],
    [['--config', 'a', '--image'], /^noslate-fc dev: --config, --image: expected one of them, got 2$/m],
    [['--port', '9000', '--max-instances', '2'], /^noslate-fc dev: --max-instances: expected 1 with --port, --image or --inspect, got 2$/m],
    [['--image', '--max-instances', '2'], /^noslate-fc dev: --max-instances: expected 1 with --port, --image or --inspect, got 2$/m],
    [['--config', 'missing.json'], /^noslate-fc dev: --config: expected a file, got ".*missing\.json"$/m],
    [['--health', 'x'], /^noslate-fc dev: --health: expected a path that starts with "\/"/],
    [['--json=1'], /^noslate-fc dev: --json: expected no value, got "1"$/m],
  ];
  const [first, ...others] = bad;
  // as a process once, for its exit code; the rest by the function that it calls
  for (const [args, message] of [first, others[others.length - 3]] as [string[], RegExp][]) {
    const { code, stdout, stderr } = await run(args);
    assert.is(code, 78);
    assert.is(stdout, '');
    assert.match(stderr, message);
  }
  for (const [args, message] of bad.filter(([args]) => !args.includes('missing.json'))) {
    assert.throws(
      () => deployment(readFlags(args), SERVER_FILE),
      (error: { problems: string[] }) => message.test(`noslate-fc dev: ${error.problems.join('\n')}`),
      args.join(' '),
    );
  }
});

fc('should serve the noslate.json of a folder, where you are or named', async () => {
  const folder = project({ hello: HELLO });
  for (const [args, cwd] of [
    [[], folder],
    [['missing', basename(folder)], dirname(folder)],
  ] as const) {
    await withCommand(
      args,
      async command => {
        assert.is((await command.ask('/')).body.toString(), 'hello');
        const { command: started } = await command.event('starting');
        assert.match(String(started), / --config noslate\.json$/);
      },
      cwd,
    );
  }
});

/** A folder with a function, deployed by this. */
function deployedProject(yaml: string, name: string = 's.yaml'): string {
  const folder = realpathSync(project({ hello: HELLO }));
  write(join(folder, name), yaml);
  return folder;
}

const DEPLOYED = `resources:
  app:
    component: fc3
    props:
      region: cn-shanghai
      functionName: shop
      runtime: custom-container
      memorySize: 640
      cpu: 0.5
      timeout: 7
      instanceConcurrency: 3
      logConfig: auto
      environmentVariables: { COLOUR: green, SERVER_HEALTH_PATH: /up }
      customContainerConfig: { port: 9000, healthCheckConfig: { httpGetUrl: /up, periodSeconds: 1 } }
      instanceLifecycleConfig: { preStop: { handler: "true", timeout: 5 } }
      triggers:
        - { triggerName: web, triggerType: http, triggerConfig: { authType: anonymous, methods: [GET] } }
`;

fc('should play what s.yaml beside noslate.json says, and tell what it has taken', async () => {
  const folder = deployedProject(DEPLOYED);
  await withCommand(
    [...ownServer(), '--memory', '1024', '--env', 'COLOUR=red'],
    async command => {
      const { file, place, taken, won, remarks } = await command.event('deployment');
      assert.equal([file, place], [join(folder, 's.yaml'), 'resources.app']);
      assert.equal(taken, {
        function: 'shop',
        region: 'cn-shanghai',
        memory: '640 MB',
        cpu: '0.5',
        timeout: '7 s',
        concurrency: '3',
        initializer: 'none',
        'pre-stop': '5 s',
        'health check': '/up',
        port: '9000 (here a free one)',
        role: 'none',
        variables: 'COLOUR SERVER_HEALTH_PATH',
        triggers: 'web (http, anonymous, GET)',
      });
      assert.equal(won, ['--memory', '--env COLOUR']);
      assert.equal(remarks, [
        {
          kind: 'warning',
          line: 12,
          field: 'resources.app.props.logConfig',
          text: 'not played here: what the container prints is printed',
        },
      ]);
      await command.event('ready');
      const told = JSON.parse((await command.ask('/')).body.toString()) as Record<string, string>;
      assert.equal(
        ['COLOUR', 'SERVER_HEALTH_PATH', 'FC_REGION', 'FC_FUNCTION_NAME', 'FC_FUNCTION_MEMORY_SIZE'].map(
          key => told[key],
        ),
        ['red', '/up', 'cn-shanghai', 'shop', '1024'],
      );
      assert.not.ok('ALIBABA_CLOUD_SECURITY_TOKEN' in told, 'no role, no credentials');
      assert.match(String((await command.event('listening'))['invoke']), /\/functions\/shop\//);
      assert.is((await ask(command.port, { method: 'POST', path: '/' })).status, 405);
      // none is configured
      assert.not.ok(command.events().some(({ event }) => event === 'initialized'));
      write(join(folder, 's.yaml'), DEPLOYED.replace('640', '1280'));
      await command.event('deployment changed');
      command.say('quit');
      await command.event('pre-stop');
    },
    folder,
  );
});

fc('should refuse a deployment that it cannot read, by line and field', async () => {
  const folder = deployedProject(DEPLOYED.replace('640', '600').replace('periodSeconds: 1', 'periodSeconds: x'));
  const { code, stdout, stderr } = await run([], folder);
  assert.equal([code, stdout], [78, '']);
  assert.is(
    stderr,
    `noslate-fc dev: s.yaml:8: resources.app.props.memorySize: expected a multiple of 64 from 128 to 32768, got 600
noslate-fc dev: s.yaml:14: resources.app.props.customContainerConfig.healthCheckConfig.periodSeconds: expected a whole number from 1 to 120, got "x"
noslate-fc dev: --deployment off leaves that file out
`,
  );
  await withCommand(['--deployment', 'off'], async command => assert.is((await command.ask('/')).status, 200), folder);
});

fc('should take the deployment that is meant', () => {
  const yaml = (name: string): string => DEPLOYED.replace('shop', name);
  const folder = deployedProject(yaml('second'), 's.yml');
  const found = (...args: string[]): string | undefined => findDeployment(readFlags([folder, ...args]))?.deployed?.name;
  assert.is(found(), 'second');
  write(join(folder, 's.yaml'), yaml('first'));
  assert.is(found(), 'first');
  write(join(folder, 'else/other.yaml'), yaml('third'));
  assert.is(found('--deployment', join(folder, 'else/other.yaml')), 'third');
  assert.is(found('--deployment', 'off'), undefined);
  assert.is(found('--command', 'node server.js'), 'first', 'another server may be deployed, too');
  assert.is(found('--function', 'first'), 'first');
  const problem = (...args: string[]): string => {
    try {
      findDeployment(readFlags(args));
      return '';
    } catch (error) {
      return (error as { problems: string[] }).problems.join('\n');
    }
  };
  assert.match(problem('--deployment', join(folder, 'none')), /^--deployment: cannot read .*none: ENOENT$/);
  assert.match(
    problem(folder, '--function', 'x'),
    /^s\.yaml:1: resources: --function: expected one of first, got "x"$/m,
  );
  assert.match(problem(temporary(), '--function', 'x'), /^--function: expected s\.yaml or s\.yml in .* with it/);
});

fc('should let each flag win over the deployment', () => {
  const file = DEPLOYED.replace('preStop', 'initializer: { timeout: 9 }, preStop');
  const folder = deployedProject(file);
  const settings = (...args: string[]) => {
    const flags = readFlags([folder, ...args]);
    const read = findDeployment(flags)?.deployed;
    assert.ok(read);
    const { environment = {}, ...rest } = deployment(flags, SERVER_FILE, read);
    return { ...rest, ...environment, won: winners(flags, read) };
  };
  const plain = settings();
  // biome-ignore format: a table
  assert.equal(
    [plain.flavour, plain.name, plain.region, plain.role, plain.timeout, plain.memory, plain.cpu, plain.instanceConcurrency, plain.maxInstances, plain.port],
    ['3.0', 'shop', 'cn-shanghai', false, 7, 640, 0.5, 3, 10, 0],
  );
  assert.equal([plain.initializer, plain.preStop, plain.methods], [{ timeout: 9 }, { timeout: 5 }, ['GET']]);
  assert.equal(plain.healthCheck, { httpGetUrl: '/up', periodSeconds: 1 });
  assert.equal(plain.won, []);
  // biome-ignore format: a table
  const cases: [string[], string, unknown][] = [
    [['--fc', '2.0'], 'flavour', '2.0'],
    [['--name', 'x'], 'name', 'x'],
    [['--timeout', '9'], 'timeout', 9],
    [['--memory', '1000'], 'memory', 1000],
    [['--concurrency', '5'], 'instanceConcurrency', 5],
    [['--init-timeout', '4'], 'initializer', { timeout: 4 }],
    [['--no-initializer'], 'initializer', undefined],
    [['--pre-stop', '6'], 'preStop', { timeout: 6 }],
    [['--health', '/h'], 'healthCheck', { httpGetUrl: '/h', periodSeconds: 1 }],
    [['--port', '9001'], 'port', 9001],
    [['--env', 'COLOUR=red'], 'COLOUR', 'red'],
  ];
  for (const [args, key, value] of cases) {
    const got: Record<string, unknown> = settings(...args);
    assert.equal(got[key], value, args.join(' '));
    assert.equal(got['won'], [args[0] === '--env' ? '--env COLOUR' : args[0]]);
  }
  // a server that may have its port from nowhere else has the deployment's, and there is room for one
  const fixed = settings('--command', 'node server.js');
  assert.equal([fixed.port, fixed.maxInstances], [9000, 1]);
  for (const args of [
    ['--command', 'node server.js PORT'],
    ['--command', 'node server.js', '--max-instances', '2'],
  ]) {
    assert.is(settings(...args).port, 0);
  }
});

fc('should play a pre-freeze hook of FC 2.0’s alone', () => {
  const folder = deployedProject(readFileSync('examples/fc/s-2.0.yaml', 'utf8'));
  const settings = (...args: string[]) => {
    const flags = readFlags([folder, ...args]);
    return deployment(flags, SERVER_FILE, findDeployment(flags)?.deployed);
  };
  assert.equal([settings().preFreeze, settings().service], [{ timeout: 5 }, 'noslate']);
  assert.equal(settings('--pre-freeze').preFreeze, { timeout: 60 });
  assert.is(settings('--fc', '3.0').preFreeze, undefined);
});

fc('should say what to do where there is no noslate.json', async () => {
  const folder = realpathSync(temporary());
  const { code, stdout, stderr } = await run([], folder);
  assert.equal([code, stdout], [78, '']);
  assert.is(
    stderr,
    `noslate-fc dev: expected noslate.json in ${folder}, found none. Name its folder: noslate-fc dev FOLDER; or run another server: --command 'node server.js'. See --help\n`,
  );
});

fc('should know sessions as the flag says, with the numbers that are deployed', () => {
  const deployed = { flavour: '3.0', role: false, timeout: 3, environment: {}, triggers: [] } as const;
  const affinity = { by: 'cookie', perInstance: 7 } as const;
  const of = (flags: readonly string[], rest: object = {}): unknown =>
    deployment(readFlags(flags), SERVER_FILE, { ...deployed, ...rest }).sessionAffinity;
  assert.is(of([]), undefined);
  assert.equal(of([], { sessionAffinity: affinity }), affinity);
  assert.equal(of(['--session-affinity', 'my-session'], { sessionAffinity: affinity }), {
    by: 'header',
    header: 'my-session',
    perInstance: 7,
  });
  assert.equal(of(['--session-affinity', 'mcp']), { by: 'mcp' });
  assert.is(of(['--session-affinity', 'off'], { sessionAffinity: affinity }), undefined);
  assert.throws(() => of(['--session-affinity', 'mcp', '--fc', '2.0']), /--session-affinity: expected --fc 3\.0/);
  assert.throws(
    () => readFlags(['--session-affinity', 'x-fc-own']),
    /--session-affinity: expected cookie, mcp, off, or/,
  );
  const won = winners(readFlags(['--session-affinity', 'mcp']), {
    ...deployed,
    triggers: [],
    sessionAffinity: affinity,
  });
  assert.equal(won, ['--session-affinity']);
});

fc('should say that session affinity wins over what was said of concurrency', async () => {
  const base: Deployed = { flavour: '3.0', role: false, timeout: 3, environment: {}, triggers: [] };
  const [affinity, five] = [{ by: 'cookie' }, { instanceConcurrency: 5 }] as const;
  const of = (args: readonly string[], rest: Partial<Deployed> = {}): unknown => {
    const [flags, deployed] = [readFlags(args), { ...base, ...rest }];
    const won = winners(flags, deployed).filter(flag => flag === '--concurrency');
    return [overruled(flags, deployed, deployment(flags, SERVER_FILE, deployed)), ...won];
  };
  const [cookie, words] = [['--session-affinity', 'cookie'], 'does not count: FC makes it 200 with session affinity'];
  assert.equal(of([...cookie, '--concurrency', '7']), [`--concurrency 7 ${words}`]);
  assert.equal(of(['--concurrency', '7'], { sessionAffinity: affinity }), [`--concurrency 7 ${words}`]);
  assert.equal(of([...cookie, '--concurrency', '7'], five), [`--concurrency 7 ${words}`], 'nor does it win');
  assert.equal(of(cookie, five), [`instanceConcurrency 5 ${words}`]);
  assert.equal(of([], { ...five, sessionAffinity: affinity }), [undefined], 'a remark on the file says so');
  assert.equal(of([...cookie, '--concurrency', '200']), [undefined]);
  assert.equal(of(cookie), [undefined]);
  const off = ['--session-affinity', 'off', '--concurrency', '7'];
  assert.equal(of(off, { ...five, sessionAffinity: affinity }), [undefined, '--concurrency']);
  const second = ['--fc', '2.0', '--concurrency', '7'];
  assert.equal(of(second, { ...five, sessionAffinity: affinity }), [undefined, '--concurrency']);
  await withCommand([...ownServer(), ...cookie, '--concurrency', '7'], async command => {
    assert.is((await command.event('remark'))['text'], `--concurrency 7 ${words}`);
    await command.event('listening');
    assert.is(command.events().filter(({ event }) => event === 'remark').length, 1);
  });
});

fc('should say what of freezing a system does not have', () => {
  assert.is(unplayed('linux'), undefined);
  assert.match(unplayed('darwin') ?? '', /^frozen is the process alone/);
  assert.match(unplayed('win32') ?? '', /^Windows has no SIGSTOP/);
});

fc('should take flags in every form', () => {
  const flags = readFlags(['--pre-stop', '--health=/h?x=1', '--image', '--listen', ':0', '--env', 'A=1', '--env=B=2']);
  assert.equal(
    [flags.preStop, flags.health, flags.image, flags.listen],
    [60, '/h?x=1', '.', { host: 'localhost', port: 0 }],
  );
  assert.equal(flags.env, [
    ['A', '1'],
    ['B', '2'],
  ]);
  assert.equal(readFlags(['--listen', '[::1]:80']).listen, { host: '::1', port: 80 });
  assert.equal(readFlags(['--listen', '0.0.0.0']).listen, { host: '0.0.0.0', port: 8080 });
  assert.equal(readFlags(['--command', `a 'b c' "d"e`]).command, ['a', 'b c', 'de']);
  assert.is(deployment(readFlags(['--port', '9000', '--command', 'x']), SERVER_FILE).maxInstances, 1);
  assert.is(deployment(readFlags(['--command', 'x', '--no-initializer']), SERVER_FILE).initializer, undefined);
});

fc('should explain itself', async () => {
  const { code, stdout, stderr } = await run(['-h']);
  assert.equal([code, stderr], [0, '']);
  assert.is(stdout, helpText());
  for (const name of Object.keys(SWITCHES)) assert.match(stdout, `  ${name}=`);
  for (const flag of ['--config FILE', '--image [FOLDER]', '--pre-stop [SECONDS]', '--no-initializer'])
    assert.ok(stdout.includes(flag));
});

fc('should say so when the port is taken', async () => {
  const server = createServer();
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const { code, stdout, stderr } = await run(['--listen', `127.0.0.1:${port}`, ...ownServer()]);
  server.close();
  assert.equal([code, stdout], [1, '']);
  assert.is(stderr, `noslate-fc dev: --listen: port ${port} is taken by another process\n`);
});

/** A report, and what it has written. */
function reported(options: Partial<Parameters<typeof createReport>[0]>): { report: Report; text: () => string } {
  let written = '';
  const report = createReport({ json: false, colour: false, log: true, ...options }, text => (written += text));
  return { report, text: () => written };
}

const ID = 'c-01234567-89abcdef-0123456789abcdef0123456789ab';

fc('should print one line for each event', () => {
  const { report, text } = reported({});
  // biome-ignore format: a table
  const events: LifeEvent[] = [
    { at: 12, event: 'starting', instance: ID, command: `${process.execPath} server.js`, port: 10123 },
    { at: 45, event: 'waiting', instance: ID, port: 10123, ms: 1000, found: ['127.0.0.1:9000'] },
    { at: 50, event: 'accepting', instance: ID, port: 10123, ms: 41 },
    { at: 70, event: 'initialized', instance: ID, requestId: 'r0', status: 200, ms: 12 },
    { at: 75, event: 'initialize failed', instance: ID, requestId: 'r0', status: 0, ms: 3000 },
    { at: 80, event: 'frozen', instance: ID },
    { at: 3000, event: 'thawed', instance: ID, ms: 2920 },
    { at: 4000, event: 'frozen', instance: ID },
    { at: 5281, event: 'request', instance: ID, requestId: 'r1', kind: 'http', method: 'POST', path: '/echo' },
    { at: 5281, event: 'thawed', instance: ID, ms: 1281 },
    { at: 5282, event: 'log', instance: ID, stream: 'stdout', line: 'as it is' },
    { at: 5283, event: 'log', instance: ID, line: '{"time":"t","level":"warn","message":"slow","worker":"w1","n":2}' },
    { at: 5283, event: 'log', instance: ID, line: '{"level":"info","message":"request","outcome":"ok","totalMs":3}' },
    { at: 5284, event: 'answer', instance: ID, requestId: 'r1', status: 200, ms: 32, queuedMs: 74, isCold: true, totalMs: 106 },
    { at: 5284, event: 'frozen', instance: ID },
    { at: 5285, event: 'answer', instance: ID, requestId: 'r9', kind: 'event', bytes: 1, status: 200, ms: 3, queuedMs: 12, totalMs: 15 },
    { at: 5286, event: 'answer', instance: ID, requestId: 'r8', kind: 'event', bytes: 1, status: 200, errorType: 'UnhandledInvocationError', ms: 2001, totalMs: 2001, message: 'Function time out after 2 seconds (maxMemoryUsage: 56.78MB)', cause: 'Error: socket hang up' },
    { at: 5290, event: 'answer', requestId: 'r2', kind: 'http', method: 'GET', path: '/', status: 412, errorType: 'CAExited', message: 'it exited. Logs:\nmore' },
    { at: 5291, event: 'request', instance: ID, requestId: 'r3', kind: 'event', bytes: 13 },
    { at: 5292, event: 'answer', instance: ID, requestId: 'r3', status: 499, ms: 1 },
    { at: 5293, event: 'answer', instance: ID, requestId: 'r4', kind: 'websocket', path: '/chat', status: 101, ms: 1200, ended: 'timeout' },
    { at: 5300, event: 'retry', requestId: 'r5', method: 'GET' },
    { at: 5301, event: 'retry', requestId: 'r6', count: 2 },
    { at: 5310, event: 'scaled', instances: 2 },
    { at: 5400, event: 'pre-stop', instance: ID, status: 200, ms: 4 },
    { at: 5500, event: 'exited', instance: ID, code: 1, expected: false },
    { at: 65000, event: 'exited', instance: ID, signal: 'SIGTERM', expected: true },
  ];
  for (const event of events) report.event(event);
  assert.is(
    text(),
    `   0.01 s  c-01234567  starting node server.js
   0.04 s  c-01234567  it listens on 127.0.0.1:9000, not on 0.0.0.0:10123: listen at the port in FC_CUSTOM_LISTEN_PORT, or say --port 9000
   0.05 s  c-01234567  accepting on 10123 after 41 ms
   0.07 s  c-01234567  initialized in 12 ms: 200
   0.07 s  c-01234567  initialize failed in 3.0 s: no answer
   3.00 s  c-01234567  thawed after 2.9 s
   4.00 s  c-01234567  frozen
   5.28 s  c-01234567  | as it is
   5.28 s  c-01234567  warn: slow worker=w1 n=2
   5.28 s  c-01234567  POST /echo → 200 in 106 ms (74 start, 32 run)
   5.29 s  c-01234567  invoke 1 bytes → 200 in 15 ms (12 queued, 3 run)
   5.29 s  c-01234567  invoke 1 bytes → 200 UnhandledInvocationError in 2.0 s: timed out after 2 s  r8
   5.29 s              GET / → 412 CAExited: it exited. Logs:  r2
   5.29 s  c-01234567  invoke 13 bytes → client gone in 1 ms  r3
   5.29 s  c-01234567  WebSocket /chat → 101 in 1.2 s ended by timeout
   5.30 s              GET is made again on another connection  r5
   5.30 s              asynchronous call, retry 2  r6
   5.31 s              scaled to 2 instances
   5.40 s  c-01234567  pre-stop in 4 ms: 200
   5.50 s  c-01234567  exited with code 1 (unexpected)
  65.00 s  c-01234567  exited by SIGTERM
`,
  );
});

fc('should sum up what comes too fast to be read', () => {
  const { report, text } = reported({});
  for (let i = 0; i < 1234; i++) {
    report.event({ at: i, event: 'request', instance: ID, requestId: `r${i}`, kind: 'http', method: 'GET', path: '/' });
    report.event({ at: i, event: 'thawed', instance: ID, ms: 1 });
    report.event({ at: i, event: 'answer', instance: ID, requestId: `r${i}`, status: i < 1230 ? 200 : 404, ms: 2 });
    report.event({ at: i, event: 'frozen', instance: ID });
    if (i % 10 === 0) report.event({ at: i, event: 'log', instance: ID, line: 'text' });
    if (i === 600) report.event({ at: i, event: 'scaled', instances: 2 });
  }
  report.flush();
  const lines = text().trimEnd().split('\n');
  assert.is(lines.filter(line => line.includes('GET / → 200')).length, 20);
  assert.is(lines.filter(line => line.includes('| text')).length, 20);
  assert.is(lines.filter(line => line.includes('scaled to 2')).length, 1, 'what is rare is always shown');
  assert.match(
    lines[lines.length - 1] ?? '',
    /1214 requests, 1210 × 200, 4 × 404, p50 2 ms, p99 2 ms, 104 lines of log$/,
  );
  assert.is(lines.length, 20 + 20 + 1 + 1);
});

fc('should count no failure away, but say how often the very same has come', () => {
  const { report, text } = reported({});
  const failed = (i: number, path: string): void => {
    const call = { instance: ID, requestId: `r${i}`, kind: 'http', method: 'GET', path };
    report.event({ at: i, event: 'request', ...call });
    report.event({ at: i, event: 'answer', instance: ID, requestId: `r${i}`, status: 502, ms: i, totalMs: i });
  };
  for (let i = 0; i < 1000; i++) {
    const call = { instance: ID, requestId: `g${i}`, kind: 'http', method: 'GET', path: '/good' };
    report.event({ at: i, event: 'request', ...call });
    report.event({ at: i, event: 'answer', ...call, status: 200, ms: 2 });
    failed(i, '/same');
    if (i % 100 === 0) failed(i + 10_000, `/other/${i}`);
    const error = { code: 'FUNCTION_FAILED', message: 'no', cause: { stack: 'Error: no\n    at f (/app/f.js:1:1)' } };
    const line = JSON.stringify({ level: 'error', message: 'invocation failed', requestId: `r${i}`, error });
    report.event({ at: i, event: 'log', instance: ID, stream: 'stdout', line });
    if (i === 900) report.event({ at: i, event: 'log', instance: ID, stream: 'stderr', line: 'once on stderr' });
  }
  report.flush();
  const lines = text().trimEnd().split('\n');
  const shown = (words: string): number => lines.filter(line => line.includes(words)).length;
  assert.equal([shown('GET /same → 502 in '), shown('980 more of: GET /same → 502')], [20, 1]);
  assert.is(shown('GET /other/'), 10);
  assert.is(shown('| once on stderr'), 1);
  assert.equal([shown('error: invocation failed'), shown('980 more of: invocation failed')], [20, 1]);
  const at = lines.findIndex(line => line.includes('error: invocation failed'));
  assert.equal(lines.slice(at + 1, at + 3), [
    '                         FUNCTION_FAILED: no: Error: no',
    '                           at f (/app/f.js:1:1)',
  ]);
});

fc('should keep a line at the bottom, whatever is printed', () => {
  let now = 0;
  const status = createStatus();
  const call = { kind: 'http', status: 200, requestId: 'r' };
  for (const [at, event, fields] of [
    [0, 'starting', { instance: 'a' }],
    [1, 'starting', { instance: 'b' }],
    [2, 'ready', { instance: 'a' }],
    [3, 'frozen', { instance: 'a' }],
    [4, 'call', { requestId: 'open' }],
    [5, 'answer', { ...call, totalMs: 200, isCold: true }],
    [6, 'answer', { ...call, totalMs: 4 }],
    [7, 'answer', { ...call, totalMs: 5 }],
  ] as const) {
    status.event({ at, event, ...fields });
  }
  assert.is(status.text(10), '1 frozen, 1 starting · 1 in flight · last minute: 3 calls, p50 5 ms, p99 200 ms, 1 cold');
  assert.is(status.text(70_000), '1 frozen, 1 starting · 1 in flight · no call in the last minute');
  status.event({ at: 8, event: 'exited', instance: 'a' });
  status.event({ at: 8, event: 'exited', instance: 'b' });
  assert.match(status.text(70_000), /^no instance · 1 in flight/);

  let written = '';
  const screen = createScreen(
    text => (written += text),
    () => 12,
    () => `line ${now++} that is long`,
    painter(true),
  );
  screen.write('first\n');
  assert.is(written, 'first\n', 'nothing is drawn before anything has happened');
  screen.end();
  screen.write('last\n');
  screen.changed();
  assert.is(written, 'first\nlast\n');
});

fc('should draw that line below what is printed, as wide as the terminal', async () => {
  const writes: string[] = [];
  let drawn = (): void => {};
  const screen = createScreen(
    text => {
      writes.push(text);
      drawn();
    },
    () => 12,
    () => 'it is as long as this',
    painter(true),
  );
  const first = new Promise<void>(done => {
    drawn = done;
  });
  screen.changed();
  screen.changed();
  await within(5000, first, 'the line');
  screen.write('printed\n');
  screen.end();
  const line = '\x1b[2mit is as lo\x1b[0m';
  assert.equal(writes, [line, `\r\x1b[2Kprinted\n${line}`, '\r\x1b[2K']);
});

fc('should print every event as JSON, and no log if it is not wanted', () => {
  const events: LifeEvent[] = [
    { at: 1, event: 'log', instance: ID, line: 'x' },
    ...Array.from({ length: 50 }, (_, i): LifeEvent => ({ at: i, event: 'frozen', instance: ID })),
  ];
  for (const log of [true, false]) {
    const { report, text } = reported({ json: true, log });
    for (const event of events) report.event(event);
    report.note('quit', { requests: 0 }, 'unseen');
    report.flush();
    const parsed = text()
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line) as unknown);
    assert.equal(parsed, [...events.slice(log ? 0 : 1), { event: 'quit', requests: 0 }]);
  }
});

fc.run();

const terminal = suite('fc on a terminal', { skip: without('script', 'bsdutils') });

terminal('should read keys, and write in colour', async () => {
  const folder = temporary();
  write(join(folder, 'server.js'), SERVER);
  const line = `'${process.execPath}' '${SERVER_FILE}' dev --listen 127.0.0.1:0 --command "'${process.execPath}' '${join(folder, 'server.js')}' PORT"`;
  const env = { ...process.env };
  delete env['NO_COLOR'];
  const child = endWithUs(spawn('script', ['-qfec', line, '/dev/null'], { stdio: 'pipe', env }));
  const { output, exit } = observe(child);
  const shown = (text: string): Promise<void> =>
    eventually(`${text} in\n${output()}`, async () => output().includes(text));
  await shown('frozen');
  assert.match(output(), /curl -d .* http:\/\/127\.0\.0\.1:\d+\/2023-03-30\/functions\/app\/invocations/);
  assert.ok(/\d\.\d\d s {2}c-[0-9a-f]{8}$/.test(output().split('\x1b[0m  accepting on ')[0] ?? ''));
  child.stdin?.write('t');
  await shown('thawed after');
  child.stdin?.write('f');
  await shown('\x1b[34mfrozen\x1b[0m');
  await shown('1 frozen · 0 in flight · no call in the last minute');
  child.stdin?.write('h');
  await shown('freeze all instances');
  child.stdin?.write('\x03');
  assert.is(await within(20_000, exit, 'the end'), 0);
  assert.match(output(), /0 requests, 0 failed, 1 instances; nothing is left running/);
});

terminal.run();
