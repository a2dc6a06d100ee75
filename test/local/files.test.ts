import { spawn } from 'node:child_process';
import { Agent } from 'node:http';
import * as assert from 'uvu/assert';
import { ask, endWithUs, observe, project, SERVER_FILE, suite } from '../helpers.ts';

const files = suite('a function that has opened all files there are');

const SOURCE = `
  const fs = require('node:fs');
  const open = [];
  const held = [];
  exports.handler = async (ctx, req, res) => {
    if (req.url === '/open') try { for (;;) open.push(fs.openSync(__filename)); } catch {}
    if (req.url === '/weighed') await new Promise(done => setTimeout(done, 2500));
    if (req.url === '/fill') {
      for (let i = 0; i < 96; i++) held.push(Buffer.alloc(1024 * 1024, 1));
      return new Promise(() => {});
    }
    let error = '';
    try { fs.readFileSync(__filename); } catch ({ code }) { error = code; }
    res.writeHead(200);
    res.end(process.env.NOSLATE_WORKER_ID + ' ' + error);
  };`;

files('should be served, and watched for its memory', async () => {
  const folder = project({ f: SOURCE }, {}, { f: { resourceLimit: { memory: 64 * 1024 * 1024 } } });
  const args = [SERVER_FILE, '--agent', 'local', '--port', '0', '--log', 'json'];
  const command = ['-c', 'ulimit -n 128 && exec "$0" "$@"', process.execPath, ...args];
  const child = endWithUs(spawn('bash', command, { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] }));
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  try {
    const { line } = observe(child);
    const { url } = await line('the start', ({ message }) => message === 'listening');
    const port = Number(new URL(String(url)).port);
    const call = async (path: string): Promise<string> => (await ask(port, { path, agent })).body.toString();
    assert.is(await call('/'), 'f-1 ');
    assert.is(await call('/open'), 'f-1 EMFILE');
    assert.is(await call('/weighed'), 'f-1 EMFILE');
    assert.match(await call('/fill'), 'exceeded its memory of 64 MiB');
    assert.is(await call('/'), 'f-2 ');
  } finally {
    agent.destroy();
    child.kill('SIGKILL');
  }
});

files.run();
