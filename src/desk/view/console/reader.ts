/** What the console does not do, and why. */
export class Refused extends Error {
  readonly status: number;

  /** @param message - naming the thing, and what was expected. */
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Reads a value of JSON. @throws {Refused} 400, naming where it stands. */
export type Reader<T> = (value: unknown, at: string) => T;

const wrong = (at: string, expected: string): Refused => new Refused(400, `${at}: expected ${expected}`);

export const text: Reader<string> = (value, at) => {
  if (typeof value !== 'string') throw wrong(at, 'text');
  return value;
};

export const truth: Reader<boolean> = (value, at) => {
  if (typeof value !== 'boolean') throw wrong(at, 'true or false');
  return value;
};

export const object: Reader<Readonly<Record<string, unknown>>> = (value, at) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(at, 'an object');
  return value as Readonly<Record<string, unknown>>;
};

/** A name and a value. */
export const pair: Reader<readonly [string, string]> = (value, at) => {
  if (!Array.isArray(value) || value.length !== 2) throw wrong(at, 'a name and a value');
  return [text(value[0], at), text(value[1], at)];
};

/** Any number of them. */
export const list =
  <T>(item: Reader<T>): Reader<readonly T[]> =>
  (value, at) => {
    if (!Array.isArray(value)) throw wrong(at, 'a list');
    return value.map((one, i) => item(one, `${at}[${i}]`));
  };

/** One that may be left out. */
export const optional =
  <T>(reader: Reader<T>): Reader<T | undefined> =>
  (value, at) =>
    value === undefined ? undefined : reader(value, at);

/** One of some words. */
export const oneOf =
  <const T extends string>(...values: T[]): Reader<T> =>
  (value, at) => {
    const found = values.find(item => item === value);
    if (found === undefined) throw wrong(at, values.join(' or '));
    return found;
  };
