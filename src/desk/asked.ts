import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { ConfigError } from '../errors.ts';
import { configFile, type DeploymentFile, deployment, findDeployment } from './deployment.ts';
import type { FunctionOptions } from './fc/settings.ts';
import { type Flags, helpText, readFlags } from './flags.ts';
import { refuse } from './refuse.ts';
import { readTarget, type Target } from './view/otlp.ts';

/** What the command line and the file that it leads to ask for. */
export interface Asked {
  readonly flags: Flags;
  readonly file: DeploymentFile | undefined;
  readonly settings: FunctionOptions;
  readonly target: Target | undefined;
}

/** Gives what is asked for, or ends the process: with what is wrong with that, or with the help. */
export function configure(args: readonly string[], server: string): Asked {
  try {
    const flags = readFlags(args);
    if (flags.help) {
      process.stdout.write(helpText());
      process.exit(0);
    }
    const file = configFile(flags);
    if (file !== undefined && !existsSync(file)) throw new ConfigError([missing(flags, file)]);
    const found = findDeployment(flags);
    return { flags, file: found, settings: deployment(flags, server, found?.deployed), target: tracesTarget() };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return refuse('dev', error.problems);
  }
}

/** Where traces go. @throws {ConfigError} a variable is wrong. */
function tracesTarget(): Target | undefined {
  try {
    return readTarget(process.env);
  } catch (error) {
    throw new ConfigError([(error as Error).message]);
  }
}

/** What to do about a noslate.json that is not there. */
function missing({ config }: Flags, file: string): string {
  if (config !== undefined) return `--config: expected a file, got "${file}"`;
  return `expected noslate.json in ${dirname(file)}, found none. Name its folder: noslate-fc dev FOLDER; or run another server: --command 'node server.js'. See --help`;
}
