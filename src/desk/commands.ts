// The first code of dist/desk.js, which dist/server.js loads for a word in the place of its flags.
import { join } from 'node:path';
import { nearest } from '../nearest.ts';
import { conformance } from './conformance/command.ts';
import { dev } from './dev.ts';
import { event } from './events/command.ts';
import { init } from './init/command.ts';
import { refuse } from './refuse.ts';

/** The package's server. This code is in the file beside it. */
const SERVER = join(__dirname, 'server.js');

/** What `noslate-fc WORD` does, by its word. */
const COMMANDS: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  dev: args => dev(args, SERVER),
  conformance(args) {
    const files = join(__dirname, 'conformance');
    const command = [process.execPath, SERVER, '--config', join(files, 'function/noslate.json')];
    const ours = { command, environment: { SERVER_AGENT: 'local' } };
    return conformance(args, { servers: [['', ours]], express: join(files, 'express.cjs') });
  },
  init,
  event,
};

const [word = '', ...args] = process.argv.slice(2);
const names = Object.keys(COMMANDS);
if (Object.hasOwn(COMMANDS, word)) COMMANDS[word]?.(args);
else {
  const near = nearest(word, names);
  const meant = near === undefined ? '.' : `, did you mean ${near}?`;
  refuse(word, [`unknown command${meant} There are ${names.join(', ')}; without one it is the server, see --help`]);
}
