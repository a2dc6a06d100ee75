import * as assert from 'uvu/assert';
import { AGENTS, type AgentName, surround } from './agents.ts';
import { ask, startServer, suite, temporary, write } from './helpers.ts';

/** Built-in modules of Node's that one agent needs, and the others must not pay for. */
const COSTLY = ['worker_threads', 'http2', 'internal/http2/core', 'https', 'tls'].map(name => `NativeModule ${name}`);
const NEEDED: Partial<Record<AgentName, string[]>> = { local: ['NativeModule worker_threads'] };

const loading = suite('only the chosen agent');

for (const agent of AGENTS) {
  // the stand-in for the SDK runs functions in worker threads, which the real one does not
  if (agent === 'sdk') continue;
  loading(`should be loaded :: ${agent}`, async () => {
    const hook = `${temporary()}/hook.cjs`;
    const print = `console.log(JSON.stringify({ message: 'modules', modules: process.moduleLoadList }))`;
    write(hook, `process.on('SIGUSR2', () => ${print})`);
    const { env, stop } = await surround(agent);
    const functions = { hello: 'exports.handler = async (ctx, req, res) => res.end("hello");' };
    const server = await startServer({ functions, env: { ...env, NODE_OPTIONS: `--require ${hook}` } });
    try {
      assert.is((await ask(server.port)).body.toString(), 'hello');
      server.kill('SIGUSR2');
      const { modules } = await server.line('the modules', ({ message }) => message === 'modules');
      const loaded = COSTLY.filter(name => (modules as string[]).includes(name));
      assert.equal(loaded, NEEDED[agent] ?? []);
    } finally {
      await server.stop();
      await stop();
    }
  });
}

loading.run();
