import { basename, dirname, relative, resolve } from 'node:path';
import { type FunctionOptions, parseSwitches } from './fc/settings.ts';
import type { Flags } from './flags.ts';

/** As many as a developer's machine bears; FC's own quota is 100. */
const MAX_INSTANCES = 10;

/** The noslate.json that the container is going to read; undefined when that is the container's own business. */
export function configFile({ config, command, image, folder }: Flags): string | undefined {
  if (command !== undefined || image !== undefined) return undefined;
  return resolve(config ?? `${folder}/noslate.json`);
}

/**
 * What is deployed: the function's settings as the flags say.
 *
 * @param server - file of ours, which is run where no other is named.
 */
export function deployment(flags: Flags, server: string): FunctionOptions {
  const { fc, health, preStop, preFreeze } = flags;
  return {
    ...container(flags, server),
    flavour: fc,
    name: flags.name,
    timeout: flags.timeout,
    memory: flags.memory,
    instanceConcurrency: flags.concurrency,
    maxInstances: flags.maxInstances ?? (flags.port === undefined && flags.image === undefined ? MAX_INSTANCES : 1),
    idleTimeout: flags.idle,
    initializer: flags.noInitializer ? undefined : { timeout: flags.initTimeout },
    preStop: preStop === undefined ? undefined : { timeout: preStop },
    preFreeze: preFreeze === undefined ? undefined : { timeout: preFreeze },
    ...(health !== undefined && { healthCheck: { httpGetUrl: health } }),
    port: flags.port ?? 0,
    switches: parseSwitches(flags.switch),
  };
}

/** What a container is made of: the command, where it runs, and its variables. */
function container(flags: Flags, server: string): Pick<FunctionOptions, 'command' | 'cwd' | 'environment'> {
  const given = Object.fromEntries(flags.env);
  if (flags.command !== undefined) return { command: flags.command, cwd: process.cwd(), environment: given };
  const health: Record<string, string> = flags.health === undefined ? {} : { SERVER_HEALTH_PATH: flags.health };
  if (flags.image !== undefined) {
    return {
      command: ['./start.sh'],
      cwd: resolve(flags.image),
      environment: { ...noslateVariables(), ...health, ...given },
    };
  }
  const config = configFile(flags) ?? '';
  // where the image has it, too
  const cwd = dirname(config);
  return {
    command: [process.execPath, relative(cwd, server), '--config', basename(config)],
    cwd,
    environment: { ...health, ...given },
  };
}

/** What an image would have from its Dockerfile. */
function noslateVariables(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      /^(NOSLATED?|TURF|SERVER)_/.test(name) && value !== undefined ? [[name, value]] : [],
    ),
  );
}
