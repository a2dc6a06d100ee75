import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { freePort } from '../src/desk/fc/port.ts';
import { tree } from '../src/desk/fc/processes.ts';
import { surround } from './agents.ts';
import { ask, eventually, launch, observe, open, project, raw, read, run, suite, within } from './helpers.ts';

// Each secret has a word of its own, which must be found nowhere but where it was meant to go.

const HEADERS = {
  'x-fc-access-key-id': 'canary-header-id',
  'x-fc-access-key-secret': 'canary-header-secret',
  'x-fc-security-token': 'canary-header-token',
  'x-fc-tracing-jaeger-endpoint': 'http://canary-header-jaeger/',
  'x-fc-http-params': 'canary-header-params',
  'x-fc-cookie-session-id': 'canary-header-session',
  authorization: 'Bearer canary-header-authorization',
  cookie: 'id=canary-header-cookie',
};
/** Those that are the client's own go to the function that it calls. */
const FOR_FUNCTIONS = ['canary-header-authorization', 'canary-header-cookie', 'canary-header-session', 'canary-query'];

const ENVIRONMENT = {
  ALIBABA_CLOUD_ACCESS_KEY_ID: 'canary-env-id',
  ALIBABA_CLOUD_ACCESS_KEY_SECRET: 'canary-env-secret',
  ALIBABA_CLOUD_SECURITY_TOKEN: 'canary-env-token',
  accessKeyID: 'canary-env-old-id',
  accessKeySecret: 'canary-env-old-secret',
  securityToken: 'canary-env-old-token',
};

const TELL = `exports.handler = async (ctx, req, res) => {
  if (req.url.startsWith('/throw')) throw new Error('told to');
  if (req.url.startsWith('/hang')) return;
  if (req.url.startsWith('/illegal')) return res.writeHead(99), res.end();
  res.writeHead(200);
  if (req.url.startsWith('/break')) { res.write('half'); await new Promise(done => setTimeout(done, 20)); throw new Error('told to'); }
  res.end(JSON.stringify({ headers: req.headers, url: req.url, baggage: req.baggage, env: process.env }));
};`;

const canaries = (text: string): string[] => [...new Set(text.match(/canary-[a-z-]+[a-z]/g))].sort();

/** A collector of traces, and all that has come to it but what it is meant to hear. */
async function collect(): Promise<{ port: number; spans(): number; text(): string; headers(): string; close(): void }> {
  let text = '';
  let spans = 0;
  let headers = '';
  const server = createServer(async (req: IncomingMessage, res) => {
    const body = String(await read(req));
    spans += body.match(/"spanId"/g)?.length ?? 0;
    text += body;
    headers += JSON.stringify(req.headers);
    res.end('{}');
  });
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  return { port, spans: () => spans, text: () => text, headers: () => headers, close: () => void server.close() };
}

/** Arguments of a process and of all below it, and of ours. */
const argumentsOf = (pid: number): string =>
  [process.pid, ...tree(pid)].map(each => readFileSync(`/proc/${each}/cmdline`, 'latin1')).join('\n');

const secrets = suite('secrets', { ms: 120_000 });

for (const agent of ['local', 'native'] as const) {
  for (const mode of ['json', 'pretty']) {
    secrets(`should be told nobody that is not meant to know :: ${agent}, log ${mode}`, async () => {
      const collector = await collect();
      const around = await surround(agent);
      const adminPort = await freePort();
      const folder = project(
        { tell: TELL, broken: 'throw new Error("at load")' },
        {
          environments: [{ key: 'PASSWORD', value: 'canary-profile-all' }],
          dispatchHeader: 'x-dispatch',
          routes: [
            { path: '/broken', function: 'broken' },
            { path: '/invoke', function: 'tell' },
            { path: '/:what', function: 'tell' },
          ],
        },
        { broken: { environments: [{ key: 'TOKEN', value: 'canary-profile-one' }] } },
      );
      const env = {
        ...around.env,
        ...ENVIRONMENT,
        SERVER_ADMIN_PORT: String(adminPort),
        SERVER_READY_PATH: '/ready',
        SERVER_MAX_BODY: '1000',
        SERVER_FC_LOG: 'on',
        SERVER_TIMING: 'on',
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://canary-otlp-user:canary-otlp-password@127.0.0.1:${collector.port}/`,
        OTEL_EXPORTER_OTLP_HEADERS: 'x-key=canary-otlp-header',
      };
      const port = await freePort();
      const args = ['--port', String(port), '--host', '127.0.0.1', '--log', mode];
      const child = launch(args, env, folder);
      const { output, exit } = observe(child);
      const outputs: string[] = [];
      await eventually('the server', () =>
        ask(port, { path: '/ready', headers: HEADERS }).then(
          ({ status, body }) => {
            outputs.push(String(body));
            return status === 200;
          },
          () => false,
        ),
      );
      const call = async (path: string, more: Record<string, string> = {}, body?: string) => {
        const headers = { ...HEADERS, 'x-fc-function-timeout': '1', ...more };
        return ask(port, { path: `${path}?key=canary-query`, headers, ...(body === undefined ? {} : { body }) });
      };

      const told = await call('/tell');
      assert.equal(canaries(String(told.body)), [...FOR_FUNCTIONS, 'canary-profile-all'].sort());
      const answers = [
        await call('/throw'),
        await call('/hang'),
        await call('/illegal'),
        await call('/broken'),
        await call('/a/b'),
        await call('/tell', { 'x-dispatch': 'function:none' }),
        await call('/tell', { expect: 'canary-header-cookie' }),
        await call('/tell', {}, 'x'.repeat(2000)),
        await call('/initialize', {}, ''),
        await call('/pre-freeze'),
        await call('/x', { 'x-fc-control-path': '/invoke' }, '{}'),
      ];
      outputs.push(...answers.slice(0, -1).map(({ headers, body }) => JSON.stringify(headers) + body));
      assert.ok(answers.filter(({ status }) => status >= 400).length >= 8, answers.map(({ status }) => status).join());
      await call('/break').catch(() => {});
      const left = open(port, { path: '/hang?key=canary-query', headers: HEADERS });
      setTimeout(() => left.request.destroy(), 100);
      const secretHead = Object.entries(HEADERS)
        .map(([name, value]) => `${name}: ${value}\r\n`)
        .join('');
      for (const text of [
        `GET /?key=canary-query HTTP/1.1\r\n${secretHead}host: a\r\ncookie : canary-header-cookie\r\n\r\n`,
        `GET /#canary-query HTTP/1.1\r\nhost: a\r\n${secretHead}\r\n`,
        `canary-query /\r\n${secretHead}\r\n`,
        `GET /?canary-query HTTP/1.1\r\nhost: a\r\nauthorization: ${'canary-header-authorization '.repeat(4000)}\r\n\r\n`,
      ]) {
        const client = await raw(port, text);
        outputs.push(await within(10_000, client.closed, 'the end'));
      }
      for (const path of ['/health', '/ready', '/metrics', '/config', '/none?canary-query'])
        outputs.push(String((await ask(adminPort, { path, headers: HEADERS })).body));
      const openMetrics = { ...HEADERS, accept: 'application/openmetrics-text' };
      outputs.push(String((await ask(adminPort, { path: '/metrics', headers: openMetrics })).body));
      outputs.push(argumentsOf(child.pid ?? 0));
      child.kill('SIGTERM');
      assert.is(await within(20_000, exit, 'the end'), 0);
      outputs.push(output(), around.output());

      for (const action of ['--doctor', '--check']) {
        const { stdout, stderr } = await run([action], env, folder);
        outputs.push(stdout + stderr);
      }
      const bad = await run(['--check'], { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: 'canary-otlp-user' }, folder);
      outputs.push(bad.stdout + bad.stderr);
      assert.is(bad.code, 78);

      assert.ok(collector.spans() >= 8, String(collector.spans()));
      assert.match(collector.headers(), '"x-key":"canary-otlp-header"');
      outputs.push(collector.text());
      await around.stop();
      collector.close();
      for (const text of outputs)
        assert.equal(canaries(text), [], text.slice(Math.max(0, text.indexOf('canary-') - 300)).slice(0, 600));
      // nor is anything left behind that it has written
      for (const file of readdirSync(folder))
        assert.ok(['noslate.json', 'tell', 'broken'].includes(file), join(folder, file));
    });
  }
}

secrets.run();
