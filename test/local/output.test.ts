import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { ask, type LogLine, launch, observe, project, suite, within, withServer, write } from '../helpers.ts';

const output = suite('what a function prints');

const LINES = 100_000;

/** Prints 100 MB: in one go, or with pauses in which its thread does other things. */
const SOURCE = `
  exports.handler = async (ctx, req, res) => {
    const text = 'x'.repeat(1000);
    const lines = Number(req.headers.lines ?? 0);
    for (let i = 0; i < lines; i++) {
      console.log(i + ' ' + text);
      if (req.url === '/pauses' && i % 100 === 99) await new Promise(setImmediate);
    }
    res.writeHead(200);
    res.end();
  };`;

interface Started {
  child: ChildProcess;
  port: number;
  /** MiB in memory. */
  rss(): number;
}

/** Runs a test's body with a server whose log is for the body to read. */
async function withReader(source: string, body: (server: Started) => Promise<void>): Promise<void> {
  const folder = project({ f: source });
  const child = launch(['--agent', 'local', '--port', '0', '--log', 'json'], {}, folder);
  try {
    const first = await within(10_000, new Promise<Buffer>(done => child.stdout?.once('data', done)), 'a line');
    const { url } = JSON.parse(String(first).split('\n')[0] ?? '');
    const rss = (): number => {
      const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? [];
      return Number(kib) / 1024;
    };
    await body({ child, port: Number(new URL(url).port), rss });
  } finally {
    child.kill('SIGKILL');
  }
}

for (const path of ['/', '/pauses']) {
  output(`should take little memory when nobody reads it${path === '/' ? '' : ', however it comes'}`, async () => {
    await withReader(SOURCE, async ({ child, port, rss }) => {
      assert.is((await ask(port)).status, 200);
      child.stdout?.pause();
      const before = rss();
      assert.is((await ask(port, { path, headers: { lines: String(LINES) } })).status, 200);
      const growth = rss() - before;
      assert.ok(growth < 64, `${growth} MiB`);

      const { line, output } = observe(child);
      child.stdout?.resume();
      const { message } = await line('dropped', ({ message }) => message.startsWith('log lines dropped: '));
      const kept = output()
        .split('\n')
        .filter(text => text.includes('xxx')).length;
      const dropped = Number(/\d+$/.exec(message)?.[0]);
      // the request's own line, or what was in the pipe when we stopped, may be among either
      assert.ok(Math.abs(kept + dropped - LINES) < 100, `${kept} kept, ${dropped} dropped`);
      await ask(port, { headers: { 'x-fc-request-id': 'later' } });
      await line('a later line', ({ requestId }) => requestId === 'later');
      for (const text of output().split('\n').slice(1, -1)) JSON.parse(text);
    });
  });
}

output('should come whole and in order to who reads it, however slowly', async () => {
  await withReader(SOURCE, async ({ child, port, rss }) => {
    const { lines, line } = observe(child);
    await ask(port);
    const before = rss();
    child.stdout?.pause();
    // a little now and then
    let isSlow = true;
    const timer = setInterval(() => {
      child.stdout?.resume();
      setImmediate(() => isSlow && child.stdout?.pause());
    }, 5);
    try {
      await ask(port, { headers: { lines: String(LINES / 10), 'x-fc-request-id': 'printed' } });
    } finally {
      clearInterval(timer);
      isSlow = false;
    }
    const growth = rss() - before;
    assert.ok(growth < 64, `${growth} MiB`);
    child.stdout?.resume();
    await line('the end', ({ message, requestId }) => message === 'request' && requestId === 'printed');
    const numbers = lines()
      .filter(({ message }) => message.includes('xxx'))
      .map(({ message }) => Number.parseInt(message, 10));
    assert.is(numbers.length, LINES / 10);
    assert.ok(numbers.every((number, i) => number === i));
  });
});

output('should come as it was printed, by whatever way', async () => {
  const source = `
    const { stdout, stderr } = process;
    exports.handler = async (ctx, req, res) => {
      if (req.url === '/exit') { stdout.write('last words'); process.exit(3); }
      const umlaut = Buffer.from('ü');
      stdout.write('a');
      stderr.write('other\\n');
      stdout.write(umlaut.subarray(0, 1));
      stdout.write(umlaut.subarray(1));
      stdout.write('62c3', 'hex');
      stdout.write('vCEK', 'base64');
      stdout.cork();
      stdout.write('cor');
      stdout.write('ked\\n');
      stdout.uncork();
      await new Promise(done => stdout.write('with a callback\\n', done));
      if (!stdout.write('w'.repeat(70000) + '\\n')) await new Promise(done => stdout.once('drain', done));
      console.log([stdout.writableLength, stdout.constructor.name]);
      res.end();
    };`;
  const folder = project({ f: '' });
  write(join(folder, 'early.js'), "console.log('early'); console.error('early');");
  const worker = { execArgv: ['-r', join(folder, 'early.js')] };
  await withServer({ functions: { f: source }, overrides: { f: { worker } } }, async ({ port, line, lines }) => {
    await ask(port);
    await ask(port, { path: '/exit' });
    await line('the last words', ({ message }) => message === 'last words');
    const printed = (name: string): string[] =>
      lines()
        .filter((found: LogLine) => found['stream'] === name && found['worker'] === 'f-1')
        .map(({ message }) => (message.length > 100 ? `${message.length}` : message));
    assert.equal(printed('stdout'), [
      'early',
      'aübü!',
      'corked',
      'with a callback',
      '70000',
      "[ 0, 'WritableWorkerStdio' ]",
      'last words',
    ]);
    assert.equal(printed('stderr'), ['early', 'other']);
  });
});

output('should be told that FC would freeze away what it leaves behind, once', async () => {
  const source = `
    let ticks = setInterval(() => {}, 1000);
    exports.handler = async (ctx, req, res) => {
      if (req.url === '/unref') setTimeout(() => {}, 60000).unref();
      if (req.url === '/over') await new Promise(done => setTimeout(done, 5));
      if (req.url === '/left') setTimeout(() => {}, 60000), setTimeout(() => {}, 60000);
      console.log('answering ' + req.url);
      res.end();
    };`;
  const overrides = { f: { worker: { replicaCountLimit: 1 } } };
  await withServer({ functions: { f: source }, overrides }, async ({ port, lines, line }) => {
    for (const path of ['/', '/unref', '/over', '/left', '/left', '/end']) await ask(port, { path });
    await line('the last', ({ message }) => message === 'answering /end');
    const told = lines().map(({ message }) => message);
    const complaints = told.filter(message => message.includes('behind its answer'));
    assert.equal(complaints, ['left 2 timers behind its answer: FC freezes the instance between calls, and they wait']);
    assert.ok(told.indexOf(complaints[0] ?? '') > told.indexOf('answering /left'));
  });
});

output('should be told with the call that it was printed in, where its worker had no other', async () => {
  const source = `
    let others = 0;
    exports.handler = async (ctx, req, res) => {
      others++;
      console.log('begins ' + req.url);
      while (req.url === '/first' && others < 2) await new Promise(done => setTimeout(done, 5));
      console.log('ends ' + req.url);
      res.end();
    };`;
  const overrides = { f: { worker: { replicaCountLimit: 1 } } };
  await withServer({ functions: { f: source }, overrides }, async ({ port, line, access }) => {
    const call = (path: string) => ask(port, { path, headers: { 'x-fc-request-id': `id-of-${path.slice(1)}` } });
    const told = async (message: string) => (await line(message, item => item.message === message))['requestId'];
    const first = call('/first');
    assert.is(await told('begins /first'), 'id-of-first');
    await Promise.all([first, call('/second')]);
    assert.is(await told('begins /second'), undefined);
    await call('/third');
    assert.is(await told('ends /third'), 'id-of-third');
    assert.is((await access('id-of-third'))['worker'], 'f-1');
  });
});

output.run();
