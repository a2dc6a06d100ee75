import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { ConfigError } from '../errors.ts';
import type { Deployed } from './deployment/deployed.ts';
import { type Reading, readDeployment } from './deployment/read.ts';
import { remarkText } from './deployment/remarks.ts';
import { type FunctionOptions, parseSwitches, SESSION_CONCURRENCY } from './fc/settings.ts';
import type { Flags } from './flags.ts';
import { inspectOptions } from './inspector.ts';
import { nameOf } from './options.ts';

/** As many as a developer's machine bears; FC's own quota is 100. */
const MAX_INSTANCES = 10;

/** Names of the file that Serverless Devs looks for, in its order. */
const FILES = ['s.yaml', 's.yml'];

/** The noslate.json that the container is going to read; undefined when that is the container's own business. */
export function configFile({ config, command, image, folder }: Flags): string | undefined {
  if (command !== undefined || image !== undefined) return undefined;
  return resolve(config ?? `${folder}/noslate.json`);
}

/** A file that says how a function is deployed, and what was found in it. */
export interface DeploymentFile extends Reading {
  readonly file: string;
}

/**
 * Reads what the function is deployed by: the file that is named, or the one beside noslate.json.
 *
 * @returns undefined if there is none.
 * @throws {ConfigError} one problem per error in the file: its line, the field, what was expected.
 */
export function findDeployment(flags: Flags): DeploymentFile | undefined {
  const { deployment: named, function: chosen, folder } = flags;
  if (named === 'off') return undefined;
  const beside = dirname(configFile(flags) ?? join(resolve(folder), 'any'));
  const file = named === undefined ? FILES.map(name => join(beside, name)).find(existsSync) : resolve(named);
  if (file === undefined) {
    if (chosen === undefined) return undefined;
    throw new ConfigError([`--function: expected ${FILES.join(' or ')} in ${beside} with it, found none`]);
  }
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError([`--deployment: cannot read ${file}: ${(error as NodeJS.ErrnoException).code}`]);
  }
  const reading = readDeployment(text, chosen, process.env);
  const errors = reading.remarks.filter(({ kind }) => kind === 'error');
  if (errors.length === 0) return { file, ...reading };
  throw new ConfigError([
    ...errors.map(item => remarkText(basename(file), item)),
    ...(named === undefined ? ['--deployment off leaves that file out'] : []),
  ]);
}

/**
 * What is deployed: the function's settings as the flags say, or else the file that it is deployed by.
 *
 * @param server - file of ours, which is run where no other is named.
 * @throws {ConfigError} what the flags ask for does not go with the rest.
 */
export function deployment(flags: Flags, server: string, deployed?: Deployed): FunctionOptions {
  const { health, preStop, preFreeze, initTimeout } = flags;
  const flavour = flags.fc ?? deployed?.flavour ?? '3.0';
  if (flavour === '3.0' && preFreeze !== undefined) {
    throw new ConfigError(['--pre-freeze: expected --fc 2.0 with it, got 3.0, which has no such hook']);
  }
  const affinity = affinityOf(flags.sessionAffinity, deployed?.sessionAffinity);
  if (flavour === '2.0' && flags.sessionAffinity !== undefined && affinity !== undefined) {
    throw new ConfigError(['--session-affinity: expected --fc 3.0 with it, got 2.0, which has none']);
  }
  const port = flags.port ?? fixedPort(flags, deployed);
  const alone = (port ?? flags.image ?? flags.inspect) !== undefined;
  const { service, region, role, cpu, asyncRetries, asyncMaxAge } = deployed ?? {};
  const methods = deployed?.triggers.find(({ type }) => type === 'http')?.methods;
  // without a file there is an initializer unless it is ruled out; with one FC calls none that is not configured
  const initializer = initTimeout !== undefined || !deployed ? { timeout: initTimeout ?? 3 } : deployed.initializer;
  const healthCheck = health === undefined ? deployed?.healthCheck : { ...deployed?.healthCheck, httpGetUrl: health };
  return {
    ...container(flags, server, deployed),
    ...said({ service, region, role, cpu, asyncRetries, asyncMaxAge, methods }),
    flavour,
    name: flags.name ?? deployed?.name ?? 'app',
    timeout: flags.timeout ?? deployed?.timeout ?? 60,
    memory: flags.memory ?? deployed?.memory ?? 512,
    instanceConcurrency: flags.concurrency ?? deployed?.instanceConcurrency ?? 1,
    maxInstances: flags.maxInstances ?? (alone ? 1 : MAX_INSTANCES),
    idleTimeout: flags.idle,
    ...(affinity !== undefined && flavour === '3.0' && { sessionAffinity: affinity }),
    initializer: flags.noInitializer ? undefined : initializer,
    preStop: preStop === undefined ? deployed?.preStop : { timeout: preStop },
    preFreeze: preFreeze !== undefined ? { timeout: preFreeze } : flavour === '2.0' ? deployed?.preFreeze : undefined,
    ...(healthCheck !== undefined && { healthCheck }),
    port: port ?? 0,
    switches: parseSwitches(flags.switch),
  };
}

/** How sessions are known; their numbers stay as deployed. */
function affinityOf(
  flag: Flags['sessionAffinity'],
  deployed: Deployed['sessionAffinity'],
): Deployed['sessionAffinity'] {
  if (flag === 'off') return undefined;
  if (flag === undefined) return deployed;
  return typeof flag === 'string' ? { ...deployed, by: flag } : { ...deployed, by: 'header', ...flag };
}

/**
 * What is said of concurrency and does not count, in words: session affinity wins over it, as on FC. Undefined: it counts, or
 * nothing is said of it, or the file's own remark says so.
 *
 * @param played - what comes of the two.
 */
export function overruled(
  flags: Pick<Flags, 'concurrency'>,
  deployed: Pick<Deployed, 'instanceConcurrency' | 'sessionAffinity'> | undefined,
  played: Pick<FunctionOptions, 'sessionAffinity'>,
): string | undefined {
  const filed = deployed?.sessionAffinity === undefined ? deployed?.instanceConcurrency : undefined;
  const said = flags.concurrency ?? filed;
  if (played.sessionAffinity === undefined || said === undefined || said === SESSION_CONCURRENCY) return undefined;
  const name = flags.concurrency === undefined ? 'instanceConcurrency' : '--concurrency';
  return `${name} ${said} does not count: FC makes it ${SESSION_CONCURRENCY} with session affinity`;
}

/** The flags and what they say, of those that win over something the file says. */
export function winners(flags: Flags, deployed: Deployed): readonly string[] {
  const isThird = (flags.fc ?? deployed.flavour) === '3.0';
  const hasAffinity = isThird && affinityOf(flags.sessionAffinity, deployed.sessionAffinity) !== undefined;
  const said: readonly (readonly [keyof Flags, unknown])[] = [
    ['fc', deployed.flavour],
    ['name', deployed.name],
    ['timeout', deployed.timeout],
    ['memory', deployed.memory],
    ['concurrency', hasAffinity ? undefined : deployed.instanceConcurrency],
    ['initTimeout', deployed.initializer],
    ['noInitializer', deployed.initializer],
    ['preStop', deployed.preStop],
    ['preFreeze', deployed.preFreeze],
    ['health', deployed.healthCheck],
    ['port', deployed.port],
    ['sessionAffinity', deployed.sessionAffinity],
  ];
  const env = flags.env.filter(([name]) => Object.hasOwn(deployed.environment, name)).map(([name]) => `--env ${name}`);
  return [
    ...said.filter(([key, value]) => value !== undefined && flags[key] !== undefined).map(([key]) => nameOf(key)),
    ...env,
  ];
}

/** A command without the word PORT may listen on the deployment's port whatever it is told: there is room for one. */
function fixedPort({ command, maxInstances }: Flags, deployed: Deployed | undefined): number | undefined {
  if (command === undefined || command.some(word => /\bPORT\b/.test(word)) || (maxInstances ?? 1) > 1) return undefined;
  return deployed?.port;
}

/** An object without what is undefined: that would stand in the way of defaults. */
function said<T extends object>(values: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}

/** What a container is made of: the command, where it runs, and its variables. */
function container(
  flags: Flags,
  server: string,
  deployed: Deployed | undefined,
): Pick<FunctionOptions, 'command' | 'cwd' | 'environment'> {
  const said: Record<string, string> = { ...deployed?.environment, ...Object.fromEntries(flags.env) };
  const node = said['NODE_OPTIONS'] ?? process.env['NODE_OPTIONS'];
  const given = flags.inspect === undefined ? said : { ...said, NODE_OPTIONS: inspectOptions(node) };
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
