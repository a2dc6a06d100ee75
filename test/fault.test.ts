import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { get, raw, suite, temporary, within, withServer, write } from './helpers.ts';

// What is not foreseen cannot be provoked from outside: a module beside the server throws in its stead.

const FUNCTION = `exports.handler = async (ctx, req, res) => { if (req.url !== '/never') res.end('told'); };`;

const FAULTS: Readonly<Record<string, string>> = {
  'an exception': 'throw new TypeError("x is not a function")',
  'a rejection': 'Promise.reject(new TypeError("x is not a function"))',
  'what is no Error': 'throw undefined',
};

const faults = suite('a fault of the gateway');

for (const [what, code] of Object.entries(FAULTS)) {
  for (const mode of ['json', 'off']) {
    faults(`should end the process with 70 and one line :: ${what}, log ${mode}`, async () => {
      const module = join(temporary(), 'fault.cjs');
      write(module, `process.once('SIGUSR2', () => { ${code}; });`);
      const env = { NODE_OPTIONS: `--require=${module}`, SERVER_LOG: mode };
      await withServer({ functions: { f: FUNCTION }, env }, async ({ port, exit, kill, output, lines, access }) => {
        const client = await raw(port, get('/', 'x-fc-request-id: first\r\n'));
        await client.until('told');
        if (mode === 'json') await access('first');
        client.socket.write(get('/never'));
        const before = output().split('\n').length;
        kill('SIGUSR2');
        assert.is(await within(10_000, exit, 'the end'), 70);
        // what was being answered is broken off, and not answered in halves
        assert.not.match(await within(10_000, client.closed, 'the end of the connection'), '500');
        const said = output()
          .trimEnd()
          .split('\n')
          .slice(before - 1);
        assert.is(said.length, 1, said.join('\n'));
        assert.match(said[0] ?? '', 'fault of the gateway, which ends');
        assert.is(lines().at(-1)?.message, mode === 'json' ? 'fault of the gateway, which ends' : undefined);
        if (what !== 'what is no Error') assert.match(said[0] ?? '', 'x is not a function');
      });
    });
  }
}

faults.run();
