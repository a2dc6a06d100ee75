import { execFile, spawn } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { banner } from '../src/banner.ts';
import { help } from '../src/config.ts';
import type { Route } from '../src/profile.ts';
import { ask, launch, project, SERVER_FILE, type Server, startServer, suite, within, without } from './helpers.ts';

/** A curl line of the documentation, and what it says will come: an error's status and type, or success. */
interface Line {
  source: string;
  command: string;
  status: number;
  errorType: string | undefined;
}

function linesOf(source: string, text: string): Line[] {
  return text
    .split('\n')
    .map(line => line.replace(/^\/\/ +/, ''))
    .filter(line => line.startsWith('curl '))
    .map(line => {
      const [, command = '', comment = ''] = /^(curl .*?)(?:\s+# (.*))?$/.exec(line) ?? [];
      const [, status = '', errorType] = /^([45]\d\d) ([A-Z_]+)/.exec(comment) ?? [];
      return { source, command, status: Number(status) || 200, errorType };
    });
}

const lines = readdirSync('examples')
  .filter(name => existsSync(`examples/${name}/index.js`))
  .flatMap(name => linesOf(name, readFileSync(`examples/${name}/index.js`, 'utf8')));

/** Runs a line as it stands, but for the port and the head, which is asked for. */
async function curl(command: string, port: number): Promise<{ code: number; status: number; output: string }> {
  const here = command.replaceAll('localhost:9000', `127.0.0.1:${port}`).replace(/^curl (-i )?/, 'curl -sS -i ');
  const { code, output } = await within(
    20_000,
    new Promise<{ code: number; output: string }>(done =>
      execFile('bash', ['-c', here], (error, stdout, stderr) =>
        done({ code: Number(error?.code ?? 0), output: stdout + stderr }),
      ),
    ),
    command,
  );
  return { code, status: Number(/^HTTP\/1\.1 (\d+)/.exec(output)?.[1]), output };
}

const NO_CURL = without('curl', 'curl');

const examples = suite('examples', { skip: NO_CURL });

let server: Server;
examples('should start', async () => {
  server = await startServer({ args: ['--config', `${process.cwd()}/examples/noslate.json`] });
  assert.ok(lines.length >= 20, `${lines.length} curl lines`);
});

/** What the words beside a line mean, where it is no error and no plain success. */
const ANSWERS: Record<string, (answer: { code: number; status: number; output: string }) => void> = {
  'hello?name=Noslate': ({ output }) => assert.match(output, /\n\r?\nHello, Noslate!\n$/),
  'as you like it': ({ output }) => assert.match(output, /as you like it$/),
  'sse?events=3': ({ output }) => assert.is(output.match(/^data: /gm)?.length, 3),
  'todos/nowhere': ({ status, output }) => assert.ok(status === 404 && output.includes('no todo nowhere')),
  '"amount":20': ({ output }) => assert.match(output, '{"doubled":40}'),
  '"amount":"many"': ({ status, output }) =>
    assert.ok(status === 404 && output.includes('x-noslate-status: 422') && output.includes('expected a number')),
  'fail/middle': ({ code, status }) => assert.equal([status, code], [200, 18]),
};

for (const { source, command, status, errorType } of lines) {
  examples(`should do what it says: ${command} :: ${source}`, async () => {
    const answer = await curl(command, server.port);
    const special = Object.keys(ANSWERS).find(part => command.includes(part));
    if (special !== undefined) ANSWERS[special]?.(answer);
    else {
      assert.is(answer.status, status, answer.output);
      if (errorType !== undefined) assert.match(answer.output, `"errorType":"${errorType}"`);
    }
  });
}

examples('should stop', async () => {
  await server.stop();
});

examples.run();

const image = suite('examples for the image');

image('should have functions that answer both triggers', async () => {
  const server = await startServer({ args: ['--config', `${process.cwd()}/examples/fc/code/noslate.json`] });
  try {
    const trigger = await ask(server.port, { path: '/any/path', headers: { 'x-fc-request-id': 'one' } });
    const { method, url, requestId } = trigger.json();
    assert.equal([method, url, requestId], ['GET', '/any/path', 'one']);
    const event = await ask(server.port, { method: 'POST', path: '/invoke', body: '{"a":1,"b":2}' });
    assert.equal(event.json(), { keys: 2, event: { a: 1, b: 2 } });
    const refused = await ask(server.port, { method: 'POST', path: '/invoke', body: '{' });
    assert.equal([refused.status, refused.headers['x-noslate-status']], [404, '400']);
  } finally {
    await server.stop();
  }
});

image('should configure FC as the image is made', () => {
  const settings = ['s.yaml', 's-2.0.yaml'].map(file => readFileSync(`examples/fc/${file}`, 'utf8'));
  const dockerfile = readFileSync('Dockerfile', 'utf8');
  for (const text of settings) {
    const [, port] = /^ *(?:caPort|port): (\d+)$/m.exec(text) ?? [];
    assert.is(port, /^EXPOSE (\d+)$/m.exec(dockerfile)?.[1]);
    const [, path] = /SERVER_HEALTH_PATH: (\S+)/.exec(text) ?? [];
    assert.is(/httpGetUrl: (\S+)/.exec(text)?.[1], path);
  }
});

image.run();

const terminal = suite('banner, its curl lines', { skip: NO_CURL });

terminal('should print where it listens, the functions, and curl lines that work', async () => {
  const child = launch(['--config', 'examples/noslate.json', '--log', 'pretty', '--port', '0']);
  try {
    const text = await within(
      10_000,
      new Promise<string>(done => {
        let output = '';
        child.stdout?.on('data', data => {
          output += data;
          if (/# fail\n$/.test(output)) done(output);
        });
      }),
      'the banner',
    );
    const [first = '', second = '', third = '', ...rest] = text.trimEnd().split('\n');
    const port = Number(/^noslate-fc \S+ on http:\/\/localhost:(\d+), local agent/.exec(first)?.[1]);
    assert.is(second, 'functions: hello, echo, sse, todos, slow, event, fail');
    assert.is(third, 'services: canary');
    assert.ok(rest.length >= 7);
    for (const line of rest) {
      const [, command = ''] = /^ {2}(curl .*?) +# [\w:]+$/.exec(line) ?? [];
      const { code, status, output } = await curl(command, port);
      assert.equal([code, status], [0, 200], `${line}\n${output}`);
    }
  } finally {
    child.kill('SIGKILL');
  }
});

terminal.run();

const banners = suite('banner');

banners('should give a way in for each kind of route', () => {
  const functions = ['a', 'b'].map(name => ({
    name,
    runtime: 'nodejs' as const,
    url: '',
    signature: '1',
    handler: 'x.y',
  }));
  const services = ['s', 't'].map(name => ({ name, type: 'default' as const, selector: { functionName: 'a' } }));
  const lines = (routes: Route[], count = 2): string[] =>
    banner('1', 'http://h:1', { functions: functions.slice(0, count), services, routes, environments: [] })
      .split('\n')
      .slice(3)
      .map(line => line.trim().replace(/ +/g, ' '));
  assert.equal(lines([], 1), ['curl http://h:1/ # a']);
  assert.equal(lines([]), [
    "curl -H 'x-fc-function-name: a' http://h:1/ # a",
    "curl -H 'x-fc-function-name: b' http://h:1/ # b",
  ]);
  assert.equal(
    lines([
      { path: '/x/:id/*', method: 'PUT', function: 'a' },
      { path: '/run/:f', host: 'h.example', function: ':f' },
      { event: true, function: 'b' },
      { path: '/canary', service: 's' },
      { path: '/of/:s', service: ':s' },
    ]),
    [
      'curl -X PUT http://h:1/x/1/ # a',
      "curl -H 'host: h.example' http://h:1/run/a # a",
      "curl -H 'host: h.example' http://h:1/run/b # b",
      'curl -X POST http://h:1/invoke # b',
      'curl http://h:1/canary # service:s',
      'curl http://h:1/of/s # service:s',
      'curl http://h:1/of/t # service:t',
    ],
  );
});

banners.run();

const alone = suite('one file');

alone('should run in a folder that holds nothing but it, noslate.json and the functions', async () => {
  const folder = project({});
  cpSync('examples', folder, { recursive: true });
  cpSync(SERVER_FILE, join(folder, 'server.js'));
  const child = spawn(process.execPath, ['server.js', '--port', '0', '--log', 'json'], { cwd: folder, env: {} });
  try {
    const port = await within(
      10_000,
      new Promise<number>(done =>
        child.stdout.on('data', data => done(Number(/localhost:(\d+)/.exec(String(data))?.[1]))),
      ),
      'the port',
    );
    assert.is((await ask(port, { path: '/hello?name=you' })).body.toString(), 'Hello, you!\n');
  } finally {
    child.kill('SIGKILL');
  }
});

alone.run();

const docs = suite('docs');

docs('should name every variable of --help in the README', () => {
  const readme = readFileSync('README.md', 'utf8');
  const names = help('x').match(/\b[A-Z]+(?:_[A-Z]+)+\b/g) ?? [];
  assert.ok(names.length >= 15);
  for (const name of names) assert.ok(readme.includes(`\`${name}\``), name);
});

docs('should name every error type in the README', () => {
  const source = readFileSync('src/errors.ts', 'utf8');
  const readme = readFileSync('README.md', 'utf8');
  const codes = [...source.matchAll(/^ {2}([A-Z_]+): \d{3},$/gm)].map(match => match[1]);
  assert.ok(codes.length > 15);
  for (const code of codes) if (code !== 'CLIENT_GONE') assert.ok(readme.includes(`\`${code}\``), code);
});

docs.run();
