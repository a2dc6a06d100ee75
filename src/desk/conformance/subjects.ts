import { resolve } from 'node:path';

/** The server under test. */
export interface Subject {
  readonly command: readonly string[];
  /** Where it runs: here unless told. */
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** A file of the repository's. */
export const here = (file: string): string => resolve(file);

/** Ours, by agent. */
export function ours(agent: string): Subject {
  const config = here('src/desk/conformance/function/noslate.json');
  const container = here('dist-test/planes/container.js');
  const server = agent === 'native' ? container : here('dist/server.js');
  return {
    command: [process.execPath, server, '--config', config],
    environment: { SERVER_AGENT: agent, ...(agent === 'sdk' && { NOSLATE_PATH: here('dist-test/sdk/noslate') }) },
  };
}
