// `npm run conformance`: the command as packaged and, with --agent, ours with another agent and what that needs.
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { conformance } from '../../../src/desk/conformance/command.ts';
import type { Subject } from '../../../src/desk/conformance/run.ts';
import { refuse } from '../../../src/desk/refuse.ts';
import { ALL_AGENTS } from '../../agents.ts';
import { containerOf } from '../fc/containers.ts';

const args = process.argv.slice(2);
const at = args.indexOf('--agent');
const [, agent = 'local'] = at < 0 ? [] : args.splice(at, 2);
const servers = ALL_AGENTS.filter(name => agent === name || agent === 'all').map((name): [string, Subject] => [
  name,
  containerOf(name, resolve('src/desk/conformance/function'), { TMPDIR: tmpdir() }),
]);
if (servers.length === 0) {
  refuse('conformance', [`--agent: expected ${ALL_AGENTS.join(', ')} or all, got ${agent}`]);
}
conformance(args, { servers, express: resolve('src/desk/conformance/express.cjs') });
