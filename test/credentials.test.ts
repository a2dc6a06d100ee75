import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { whole } from '../src/desk/conformance/check.ts';
import { AGENTS, withServerOn } from './agents.ts';
import { ask, suite, withServer, write } from './helpers.ts';

const SECRETS = {
  'x-fc-access-key-id': 'canary-id',
  'X-Fc-Access-Key-Secret': 'canary-secret',
  'x-fc-security-token': 'canary-token',
};
/** Nobody may ask for these. */
const OTHERS = { 'x-fc-tracing-jaeger-endpoint': 'canary-jaeger', 'x-fc-http-params': 'canary-params' };

const TELL = `exports.handler = async (ctx, req, res) => {
  res.writeHead(200);
  res.end(JSON.stringify({ headers: req.headers, raw: req.rawHeaders, baggage: req.baggage, env: process.env }));
};`;

const canaries = (text: string): string[] => [...new Set(text.match(/canary-[a-z]+/g))].sort();

const desk = suite('credentials on the desk');

desk('should be those that the developer has given the container', async () => {
  const own = {
    ALIBABA_CLOUD_ACCESS_KEY_ID: 'canary-own',
    ALIBABA_CLOUD_ACCESS_KEY_SECRET: 'canary-key',
    ALIBABA_CLOUD_SECURITY_TOKEN: 'canary-sts',
  };
  for (const [env, seen] of [
    [own, ['canary-key', 'canary-own', 'canary-sts']],
    [{}, []],
  ] as const) {
    await withServer({ functions: { tell: TELL }, profile: { credentials: ['tell'] }, env }, async ({ fc, output }) => {
      const { status, text } = await whole(fc.http({ method: 'GET', path: '/' }));
      assert.is(status, 200);
      const told = JSON.parse(text);
      assert.ok(told.headers['x-fc-security-token'].length > 5);
      assert.equal(canaries(JSON.stringify(told)), [...seen]);
      assert.equal(canaries(output()), []);
    });
  }
});

desk.run();

for (const agent of AGENTS) {
  const credentials = suite(`credentials :: ${agent}`, { ms: 120_000 });

  credentials('should reach the functions that have asked for them, and nothing else', async () => {
    const functions = { asking: TELL, other: TELL };
    const profile = {
      credentials: ['asking'],
      dispatchHeader: 'x-dispatch',
      services: [{ name: 'service', type: 'default', selector: { functionName: 'asking' } }],
      routes: [
        { path: '/service', service: 'service' },
        { path: '/run/:name', function: ':name' },
        { path: '/*', function: 'other' },
      ],
    };
    const env = Object.fromEntries(
      ['ID', 'SECRET'].map(name => [`ALIBABA_CLOUD_ACCESS_KEY_${name}`, 'canary-environment']),
    );
    await withServerOn(agent, { functions, profile, env }, async server => {
      const { port, folder, kill, line } = server;
      const call = async (path: string, more: Record<string, string> = {}): Promise<string> => {
        const { status, body } = await ask(port, { path, headers: { ...SECRETS, ...OTHERS, ...more } });
        assert.is(status, 200, `${path}: ${body}`);
        return String(body);
      };
      const all = ['canary-id', 'canary-secret', 'canary-token'];
      const told = JSON.parse(await call('/run/asking'));
      assert.equal(canaries(JSON.stringify(told)), all);
      assert.is(told.headers['x-fc-access-key-id'], 'canary-id');
      assert.equal(canaries(JSON.stringify([told.baggage, told.env])), []);
      assert.equal(canaries(await call('/x', { 'x-dispatch': 'function:asking' })), all);
      for (const path of ['/run/other', '/x', '/service']) assert.equal(canaries(await call(path)), [], path);
      assert.equal(canaries(await call('/run/asking', { 'x-dispatch': 'other' })), []);
      // what Connection names goes no further, whoever has asked for it
      const named = await call('/run/asking', { connection: 'x-fc-security-token' });
      assert.equal(canaries(named), ['canary-id', 'canary-secret']);

      const file = join(folder, 'noslate.json');
      write(file, readFileSync(file, 'utf8').replace('"credentials":["asking"]', '"credentials":["other"]'));
      kill('SIGHUP');
      await line('reload', ({ message }) => message === 'configuration reloaded');
      assert.equal(canaries(await call('/run/asking')), []);
      assert.equal(canaries(await call('/run/other')), all);
      const failed = await ask(port, { path: '/run/none', headers: SECRETS });
      assert.equal([failed.status, canaries(String(failed.body))], [404, []]);
      assert.equal(canaries(server.output()), []);
    });
  });

  credentials.run();
}
