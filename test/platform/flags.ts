/** One `--flag`, by its name. */
export interface Flag {
  /** What stands for its value in the help; undefined for a flag that has none. */
  readonly value: string | undefined;
  readonly default?: string;
  /** What the value must look like. */
  readonly allowed?: RegExp;
  /** It may be given more than once. */
  readonly repeated?: boolean;
  readonly meaning: string;
}

export type FlagTable = Readonly<Record<string, Flag>>;

type Value<F extends Flag> = F['value'] extends undefined
  ? boolean
  : F extends { readonly repeated: true }
    ? string[]
    : F extends { readonly default: string }
      ? string
      : string | undefined;

/** A command line that was used wrongly. The message names the flag, what was given and what is expected. */
export class FlagError extends Error {}

/**
 * Reads `--flag value` and `--flag=value`, and `--help`.
 *
 * @throws {FlagError} for an unknown flag and a value that is missing or not allowed.
 */
export function parseFlags<T extends FlagTable>(
  table: T,
  args: readonly string[],
): { [K in keyof T]: Value<T[K]> } & { help: boolean } {
  const flags: Record<string, string | string[] | boolean | undefined> = { help: false };
  for (const [name, flag] of Object.entries(table)) {
    flags[name] = flag.value === undefined ? false : flag.repeated ? [] : flag.default;
  }
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === '--help' || arg === '-h') {
      flags['help'] = true;
      continue;
    }
    const [, name = '', inline] = /^--([a-z-]+)(?:=(.*))?$/s.exec(arg) ?? [];
    const flag = Object.hasOwn(table, name) ? table[name] : undefined;
    if (flag === undefined) throw new FlagError(`${arg}: expected one of --${Object.keys(table).join(', --')}, --help`);
    if (flag.value === undefined) {
      if (inline !== undefined) throw new FlagError(`--${name}: expected no value, got "${inline}"`);
      flags[name] = true;
      continue;
    }
    const value = inline ?? rest.shift();
    if (value === undefined) throw new FlagError(`--${name}: expected ${flag.value}, got nothing`);
    if (flag.allowed !== undefined && !flag.allowed.test(value)) {
      throw new FlagError(`--${name}: expected ${flag.value}, got "${value}"`);
    }
    const before = flags[name];
    flags[name] = Array.isArray(before) ? [...before, value] : value;
  }
  return flags as { [K in keyof T]: Value<T[K]> } & { help: boolean };
}

/** The table as text, a line each. */
export function flagHelp(table: FlagTable): string {
  const entries = Object.entries(table).map(([name, flag]): [string, string] => {
    const value = flag.value === undefined ? '' : ` ${flag.value}`;
    const otherwise = flag.default === undefined ? '' : ` (${flag.default})`;
    return [`  --${name}${value}`, `${flag.meaning}${otherwise}`];
  });
  const width = Math.max(...entries.map(([left]) => left.length));
  return entries.map(([left, right]) => `${left.padEnd(width)}  ${right}`).join('\n');
}
