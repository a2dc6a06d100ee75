import { show } from '../schema.ts';

/** What a flag may be. */
export interface Allowed<T> {
  /** Undefined for text that is not allowed. */
  parse(text: string): T | undefined;
  /** The words for what is allowed. */
  readonly expects: string;
}

/** One flag: what it takes, what it is otherwise, what it means. */
export interface Flag<T> extends Allowed<T> {
  /** The value's name in the help; empty for a flag that takes none, in brackets where it may be left out. */
  readonly value: string;
  /** What a flag without a value stands for. */
  readonly alone?: string;
  readonly default: T | undefined;
  /** The default in words, where it depends on something. */
  readonly otherwise?: string;
  /** True for a flag that may be given more than once, and whose values are a list. */
  readonly repeats?: true;
  readonly meaning: string;
}

/** Any text. */
export const text: Allowed<string> = { parse: value => value, expects: 'text' };

/** A flag that takes no value. */
export const on: Allowed<boolean> & { value: ''; alone: 'on'; default: undefined } = {
  parse: value => (value === 'on' ? true : undefined),
  expects: 'no value',
  value: '',
  alone: 'on',
  default: undefined,
};

/** A whole number. */
export const whole = (min: number, max: number): Allowed<number> => ({
  parse: value => (/^\d+$/.test(value) && Number(value) >= min && Number(value) <= max ? Number(value) : undefined),
  expects: `a whole number from ${min} to ${max}`,
});

/** One of some words. */
export const oneOf = <const T extends string>(...values: T[]): Allowed<T> => ({
  parse: value => values.find(item => item === value),
  expects: values.join(' or '),
});

/** Flags by their names in camel case: `maxInstances` is `--max-instances`. */
export type FlagTable = Readonly<Record<string, Flag<unknown>>>;

type Parsed<F extends Allowed<unknown>> = NonNullable<ReturnType<F['parse']>>;
type Value<F extends Flag<unknown>> = F extends { repeats: true }
  ? readonly Parsed<F>[]
  : Parsed<F> | (F['default'] extends undefined ? undefined : never);

/** What a command line asks for; undefined where nothing was said and there is no default. */
export type Values<T extends FlagTable> = { readonly [K in keyof T]: Value<T[K]> };

/**
 * Reads a command line. What is wrong with it is added to the problems: each its flag, what was given, what is allowed.
 *
 * @param words - is given what is no flag and no flag's value; without it that is wrong.
 */
export function readTable<T extends FlagTable>(
  table: T,
  args: readonly string[],
  problems: string[],
  words?: string[],
): Values<T> {
  const given = collectValues(table, args, problems, words);
  const entries = Object.entries(table).map(([key, flag]: [string, Flag<unknown>]) => {
    const texts = given.get(nameOf(key)) ?? [];
    const values = texts.map(value => {
      const parsed = flag.parse(value);
      if (parsed === undefined) problems.push(`${nameOf(key)}: expected ${flag.expects}, got ${show(value)}`);
      return parsed;
    });
    if (flag.repeats) return [key, values];
    return [key, values.length > 0 ? values[values.length - 1] : flag.default];
  });
  return Object.fromEntries(entries) as Values<T>;
}

/** The texts given for each flag, in order. */
function collectValues(
  flags: FlagTable,
  args: readonly string[],
  problems: string[],
  words: string[] | undefined,
): Map<string, string[]> {
  const table = new Map<string, Flag<unknown>>(Object.entries(flags).map(([key, flag]) => [nameOf(key), flag]));
  const given = new Map<string, string[]>();
  for (let i = 0; i < args.length; i++) {
    const [name = '', inline] = (args[i] ?? '').split(/=(.*)/s);
    const flag = table.get(name === '-h' ? '--help' : name);
    if (flag === undefined && words !== undefined && !name.startsWith('-')) {
      words.push(args[i] ?? '');
      continue;
    }
    if (flag === undefined) {
      problems.push(`${name}: unknown flag, expected one of ${[...table.keys()].join(', ')}`);
      continue;
    }
    const next = args[i + 1];
    // a value that may be left out is not taken from the next flag
    const follows = flag.value !== '' && next !== undefined && !(flag.alone !== undefined && next.startsWith('-'));
    const value = inline ?? (follows ? args[++i] : flag.alone);
    if (value === undefined || value === '') problems.push(`${name}: expected a value, got none`);
    else given.set(name === '-h' ? '--help' : name, [...(given.get(name) ?? []), value]);
  }
  return given;
}

/** `maxInstances` is `--max-instances`. */
export const nameOf = (key: string): string => `--${key.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`;

/** The table as text for `--help`. */
export function tableText(table: FlagTable): string {
  return Object.entries(table)
    .map(([key, flag]: [string, Flag<unknown>]) =>
      row(`${nameOf(key)} ${flag.value}`.trim(), flag.meaning, flag.otherwise ?? flag.default),
    )
    .join('\n');
}

/** A name and what it means. */
export function row(head: string, meaning: string, otherwise: unknown): string {
  return `  ${head}\n      ${meaning}${otherwise === undefined ? '' : ` (default: ${otherwise})`}`;
}
