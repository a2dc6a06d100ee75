import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from './config.ts';
import { environmentBytes, MAX_ENVIRONMENT_BYTES } from './environment.ts';
import { describe, readJson } from './json-fault.ts';
import { type Answer, PROBE, type Question } from './probe.ts';
import { type FunctionProfile, type KeyValuePair, WORKER_DEFAULTS } from './profile.ts';
import { type Reading, readText } from './profile-load.ts';

/** So many functions' code is loaded at a time. */
const AT_A_TIME = 4;

/** What was looked at, what looks like a mistake but keeps nothing from working, and what does. */
interface Findings {
  readonly checked: string[];
  readonly warnings: string[];
  readonly problems: string[];
}

const nothing = (): Findings => ({ checked: [], warnings: [], problems: [] });

/**
 * Looks at all that a start needs and at what only a call would show, and gives text for a person, and the problems.
 *
 * The code of each function in a folder is loaded, which runs what stands at the top of its files: in a process of its
 * own, with a worker's environment, by Noslate's Node.js where Noslate is to run it. Neither handler nor initializer is
 * called, and nothing is fetched.
 *
 * @param file - a script that runs `probe` when its first argument is `PROBE`.
 * @param faults - what is wrong with the settings.
 * @param reading - of the file that the settings name, if they do.
 */
export async function examine(
  file: string,
  config: Config,
  faults: readonly string[],
  reading: Reading | undefined,
): Promise<{ text: string; problems: readonly string[] }> {
  const found: Findings[] = [
    { checked: [`settings, agent ${config.agent}`], warnings: [...config.warnings], problems: [...faults] },
    config.agent === 'local' ? nothing() : await noslate(file, config),
    fileFindings(config.config, reading),
  ];
  const entries = [...(reading?.functions ?? [])];
  const next = entries.entries();
  const work = async (): Promise<void> => {
    for (const [at, [i, item]] of next) {
      const name = `${config.config}: functions[${i}]`;
      found[3 + at] = await functionFindings(file, config, name, item, reading?.profile.environments ?? []);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));

  const problems = found.flatMap(item => item.problems);
  const lines = [
    ...found.flatMap(item => item.checked).map(line => (line.startsWith('not ') ? line : `checked: ${line}`)),
    ...found.flatMap(item => item.warnings).map(line => `warning: ${line}`),
    problems.length === 0 ? 'ok' : `${problems.length} to mend`,
  ];
  return { text: `${lines.join('\n')}\n`, problems };
}

function fileFindings(file: string | undefined, reading: Reading | undefined): Findings {
  if (file === undefined || reading === undefined) return { ...nothing(), checked: ['no noslate.json'] };
  const { functions, services, routes } = reading.profile;
  const counts = `functions: ${functions.length}, services: ${services.length}, routes: ${routes.length}`;
  const warnings: string[] = [];
  try {
    warnings.push(
      ...readJson(readText(file)).duplicates.map(remark => `${file}: ${describe(remark)}; the last counts`),
    );
  } catch {
    // that it cannot be read is known
  }
  const checked = [reading.problems.length === 0 ? `${file}, ${counts}` : file];
  return { checked, warnings, problems: [...reading.problems] };
}

/** Looks at the folders that Noslate's variables name. */
async function noslate(file: string, config: Config): Promise<Findings> {
  const { agent, noslatePath, noslatedWorkdir, noslateLogdir, turfWorkdir } = config;
  const findings = nothing();
  const { checked, warnings, problems } = findings;
  const folders = {
    NOSLATE_PATH: noslatePath,
    NOSLATED_WORKDIR: noslatedWorkdir,
    NOSLATE_LOGDIR: noslateLogdir,
    TURF_WORKDIR: turfWorkdir,
  };
  for (const [name, folder] of Object.entries(folders)) {
    if (folder === undefined) continue;
    const fault = folderFault(folder);
    if (fault === undefined) checked.push(`${name}, ${folder}`);
    // the others are made by whoever starts the planes
    else if (name === 'NOSLATE_PATH' || existsSync(folder)) problems.push(`${name}: ${fault}`);
    else warnings.push(`${name}: ${fault} yet`);
  }
  if (noslatePath === undefined || folderFault(noslatePath) !== undefined) return findings;

  if (agent === 'sdk') {
    const question = { folder: resolve(noslatePath), keys: ['.NoslatedClient'] };
    const answer = await ask(process.execPath, [file], question, process.env, WORKER_DEFAULTS.initializationTimeout);
    const [fault] = typeof answer === 'string' ? [answer] : answer;
    if (fault) problems.push(`NOSLATE_PATH: expected a package that exports NoslatedClient: ${fault}`);
  } else {
    const folder = process.env['NOSLATE_BIN'] ?? join(noslatePath, 'bin');
    const missing = ['node', 'turf', 'data_plane', 'control_plane'].filter(name => !existsSync(join(folder, name)));
    if (missing.length > 0) warnings.push(`NOSLATE_PATH: no ${missing.join(', ')} in ${folder}`);
  }
  return findings;
}

/** Looks at a function's environment and its code. */
async function functionFindings(
  file: string,
  config: Config,
  at: string,
  profile: FunctionProfile,
  environments: readonly KeyValuePair[],
): Promise<Findings> {
  const { name, runtime, url, sourceFile = '' } = profile;
  const findings = nothing();
  const { checked, warnings, problems } = findings;
  const bytes = environmentBytes({ environments }, profile);
  if (bytes > MAX_ENVIRONMENT_BYTES) {
    warnings.push(
      `${at}.environments: ${bytes} bytes with those of all functions, and turfd may refuse more than ${MAX_ENVIRONMENT_BYTES}`,
    );
  }
  if (config.agent === 'local' && (runtime !== 'nodejs' || !url.startsWith('file:')))
    warnings.push(`${at}: the local agent runs nodejs functions in folders alone`);
  if (!url.startsWith('file:')) {
    // of another scheme it is a problem already
    if (/^https?:/i.test(url)) checked.push(`not checked: function ${name}: ${url} is not fetched`);
    return findings;
  }
  const folder = folderOf(url);
  // a URL that is none is a problem already
  if (folder === undefined) return findings;
  const fault = folderFault(folder);
  if (fault !== undefined) {
    problems.push(`${at}.url: ${fault}`);
  } else if (runtime === 'aworker') {
    const script = join(folder, sourceFile);
    if (!statSync(script, { throwIfNoEntry: false })?.isFile())
      problems.push(`${at}.sourceFile: expected a script, got no file ${script}`);
    else checked.push(`function ${name}: ${sourceFile} is there; a script of aworker is not run`);
  } else {
    const faults = await codeFaults(file, config, profile, folder, environments);
    problems.push(...faults.map(line => `${at}.${line}`));
    if (faults.length === 0) checked.push(`function ${name}: its code loads, and has what the profile names`);
  }
  return findings;
}

/** Loads the code of a nodejs function as a worker does. Gives a line for each of its keys that leads to no function. */
async function codeFaults(
  file: string,
  { agent, noslatePath }: Config,
  { name, handler, initializer, worker = {}, environments: own = [] }: FunctionProfile,
  folder: string,
  environments: readonly KeyValuePair[],
): Promise<string[]> {
  const named = Object.entries({ handler, initializer }).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, value] as const],
  );
  const env: NodeJS.ProcessEnv = {};
  if (process.env['TZ'] !== undefined) env['TZ'] = process.env['TZ'];
  for (const { key, value } of [...environments, ...own]) env[key] = value;
  Object.assign(env, { PATH: '/bin:/usr/bin', TERM: 'xterm', HOME: folder, NOSLATE_WORKER_ID: `${name}-check` });
  const { execArgv = [], v8Options = [], initializationTimeout = WORKER_DEFAULTS.initializationTimeout } = worker;
  const options = agent === 'local' ? execArgv : [...v8Options, ...execArgv];
  const node = agent === 'local' ? process.execPath : noslateNode(noslatePath);
  const question = { folder, keys: named.map(([, value]) => value) };
  const answer = await ask(node, [...options, file], question, env, initializationTimeout);
  if (typeof answer === 'string') return [`handler: ${answer}`];
  return named.flatMap(([key], i) => (answer[i] ? [`${key}: ${answer[i]}`] : []));
}

function folderOf(url: string): string | undefined {
  try {
    return fileURLToPath(url);
  } catch {
    return undefined;
  }
}

/** Noslate's Node.js, where there is one. */
function noslateNode(noslatePath: string | undefined): string {
  const node = join(noslatePath ?? '', 'bin/node');
  try {
    accessSync(node, constants.X_OK);
    return noslatePath === undefined ? process.execPath : node;
  } catch {
    return process.execPath;
  }
}

/** Has a process load code, and resolves with its answer, or with why there is none. */
function ask(
  node: string,
  args: readonly string[],
  question: Question,
  env: NodeJS.ProcessEnv,
  ms: number,
): Promise<Answer | string> {
  return new Promise<Answer | string>(done => {
    // what the code prints is for a person to see, but not as ours
    const child = spawn(node, [...args, PROBE], { env, stdio: ['ignore', 2, 2, 'ipc'] });
    const timer = setTimeout(() => settle(`its code takes longer to load than ${ms} ms`), ms);
    function settle(answer: Answer | string): void {
      clearTimeout(timer);
      child.kill('SIGKILL');
      done(answer);
    }
    // the code may have things to say, too
    child.on('message', message => {
      if (Array.isArray(message)) settle(message);
    });
    child.on('error', error => settle(`${node} cannot be started: ${error.message}`));
    child.on('exit', (code, signal) =>
      settle(`its code ends the process that loads it, by ${signal ?? `exit code ${code}`}`),
    );
    // one that has ended says why itself
    child.send(question, () => {});
  });
}

/** What keeps a path from being a folder that can be read; undefined when it is one. */
function folderFault(folder: string): string | undefined {
  try {
    if (!statSync(folder).isDirectory()) return `expected a folder, got the file ${folder}`;
    accessSync(folder, constants.R_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' || code === 'ENOTDIR' ? `no folder ${folder}` : message;
  }
}
