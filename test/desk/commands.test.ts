import { spawn } from 'node:child_process';
import { copyFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { endWithUs, observe, run, SERVER_FILE, suite, temporary, within } from '../helpers.ts';

const commands = suite('commands');

commands('should name the nearest of an unknown command, and those that there are', async () => {
  const unknown = async (word: string): Promise<string> => {
    const { code, stdout, stderr } = await run([word]);
    assert.equal([code, stdout], [78, '']);
    return stderr;
  };
  const rest = 'There are dev, conformance, init, event; without one it is the server, see --help\n';
  assert.is(await unknown('dve'), `noslate-fc dve: unknown command, did you mean dev? ${rest}`);
  assert.is(await unknown('noslate.json'), `noslate-fc noslate.json: unknown command. ${rest}`);
  // one of our own making, which only a thread is started with
  assert.is(await unknown('worker-thread'), `noslate-fc worker-thread: unknown command. ${rest}`);
});

commands('should say so where the server has been copied alone', async () => {
  const folder = realpathSync(temporary());
  const alone = join(folder, 'server.js');
  copyFileSync(SERVER_FILE, alone);
  const child = endWithUs(spawn(process.execPath, [alone, 'dev'], { cwd: folder }));
  const { output, exit } = observe(child);
  assert.is(await within(20_000, exit, 'the end'), 78);
  assert.is(output(), `noslate-fc: dev: expected ${join(folder, 'desk.js')}, which has the commands, found none\n`);
});

commands.run();
