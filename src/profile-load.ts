import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConfigError } from './errors.ts';
import { describe, readJson } from './json-fault.ts';
import { EMPTY_PROFILE, FUNCTION_SCHEMA, type FunctionProfile, PROFILE_SCHEMA, type Profile } from './profile.ts';
import { conflictsIn, SCHEME } from './profile-check.ts';
import { check, type Infer } from './schema.ts';

/**
 * Reads and checks a `noslate.json`.
 *
 * @throws {ConfigError} for a file that is missing, not JSON, or has faults: one problem per fault.
 */
export function loadProfile(file: string): Profile {
  const { profile, problems } = readProfile(file);
  if (problems.length > 0) throw new ConfigError(problems);
  return profile;
}

/** What is known of a `noslate.json`. */
export interface Reading {
  /** Empty when there are problems. */
  readonly profile: Profile;
  /** One line per fault, each naming the file. */
  readonly problems: readonly string[];
  /** By their place in the file, those functions that are sound in themselves. Each `url` is absolute. */
  readonly functions: ReadonlyMap<number, FunctionProfile>;
}

/** Reads and checks a `noslate.json` and gives all that is to be said of it. */
export function readProfile(file: string): Reading {
  const failed = (faults: readonly string[], functions: Reading['functions'] = new Map()): Reading => {
    return { profile: EMPTY_PROFILE, problems: faults.map(fault => `${file}: ${fault}`), functions };
  };
  let value: unknown;
  try {
    value = parse(readText(file));
  } catch (error) {
    return failed([(error as Error).message]);
  }
  const faults = check(value, PROFILE_SCHEMA);
  const base = dirname(resolve(file));
  if (faults.length > 0) return failed(faults, soundFunctions(value, base));

  const {
    functions = [],
    services = [],
    routes = [],
    environments = [],
    dispatchHeader,
    credentials,
  } = value as Infer<typeof PROFILE_SCHEMA>;
  const profile: Profile = {
    functions: functions.map(item => withAbsoluteUrl(item, base)),
    services,
    routes,
    environments,
    ...(dispatchHeader === undefined ? {} : { dispatchHeader: dispatchHeader.toLowerCase() }),
    ...(credentials === undefined ? {} : { credentials }),
  };
  const conflicts = conflictsIn(profile);
  const found = new Map(profile.functions.entries());
  return conflicts.length > 0 ? failed(conflicts, found) : { profile, problems: [], functions: found };
}

/** Gives a file's text, without the byte order mark that some editors put in front. */
export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8').replace(/^\uFEFF/, '');
  } catch (error) {
    throw new Error(reason(error as NodeJS.ErrnoException));
  }
}

function reason({ code, message }: NodeJS.ErrnoException): string {
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'no such file';
    case 'EISDIR':
      return 'expected a file, got a folder';
    case 'EACCES':
      return 'no permission to read it';
    default:
      return message;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const { fault } = readJson(text);
    throw fault === undefined ? error : new Error(describe(fault));
  }
}

/** Of a file that has faults, those functions that have none. */
function soundFunctions(value: unknown, base: string): Map<number, FunctionProfile> {
  const { functions } = Object(value) as { functions?: unknown };
  const sound = new Map<number, FunctionProfile>();
  for (const [i, item] of (Array.isArray(functions) ? functions : []).entries()) {
    if (check(item, FUNCTION_SCHEMA).length === 0) sound.set(i, withAbsoluteUrl(item as FunctionProfile, base));
  }
  return sound;
}

function withAbsoluteUrl(item: FunctionProfile, base: string): FunctionProfile {
  return SCHEME.test(item.url) ? item : { ...item, url: pathToFileURL(resolve(base, item.url)).href };
}
