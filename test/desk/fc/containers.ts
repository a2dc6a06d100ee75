import { join, resolve } from 'node:path';
import type { FunctionOptions } from '../../../src/desk/fc/settings.ts';
import type { AgentName } from '../../agents.ts';
import { SERVER_FILE } from '../../helpers.ts';

/**
 * How the gateway is started as a container, with what its agent needs inside.
 *
 * @param folder - has the noslate.json.
 */
export function containerOf(
  agent: AgentName,
  folder: string,
  environment: Readonly<Record<string, string>> = {},
): Pick<FunctionOptions, 'command' | 'environment'> {
  const program = agent === 'native' ? resolve('dist-test/planes/container.js') : SERVER_FILE;
  const own = {
    local: {},
    // where it keeps its sockets; a container that is killed leaves them behind
    native: { TMPDIR: folder },
    sdk: { NOSLATE_PATH: resolve('dist-test/sdk/noslate') },
  };
  return {
    command: [process.execPath, program, '--config', join(folder, 'noslate.json')],
    environment: { SERVER_AGENT: agent, ...own[agent], ...environment },
  };
}
