import { meant } from './nearest.ts';

/**
 * The part of JSON Schema that our files need. One table of this shape checks a file, types it
 * (`Infer`) and is what editors get.
 *
 * @see JSON Schema 2020-12, "Validation"
 */
export interface Schema {
  readonly description?: string;
  readonly default?: unknown;
  readonly type?: 'object' | 'array' | 'string' | 'boolean' | 'number' | 'integer';
  readonly enum?: readonly string[];
  readonly const?: string;
  readonly minLength?: 1;
  readonly pattern?: string;
  /** Values that pass, shown in place of the pattern. */
  readonly examples?: readonly string[];
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly items?: Schema;
  readonly minItems?: 1;
  /** A property whose schema is `false` must be absent. */
  readonly properties?: Readonly<Record<string, Schema | false>>;
  readonly required?: readonly string[];
  /** Properties of which exactly one must be there. */
  readonly oneOf?: readonly { readonly required: readonly [string] }[];
  /** Properties that are not listed are an error. */
  readonly additionalProperties?: false;
  readonly if?: Schema;
  readonly then?: Schema;
  readonly allOf?: readonly Schema[];
}

/** The type of what a schema lets through. Conditions (`if`, `allOf`, `oneOf`) are not expressed in it. */
export type Infer<S> = S extends { enum: readonly (infer E)[] }
  ? E
  : S extends { type: 'string' }
    ? string
    : S extends { type: 'boolean' }
      ? boolean
      : S extends { type: 'number' | 'integer' }
        ? number
        : S extends { type: 'array'; items: infer I }
          ? readonly Infer<I>[]
          : S extends { type: 'object'; properties: infer P }
            ? { readonly [K in keyof P & RequiredKeys<S>]: Infer<P[K]> } & {
                readonly [K in Exclude<keyof P, RequiredKeys<S>>]?: Infer<P[K]>;
              }
            : unknown;

type RequiredKeys<S> = S extends { required: readonly (infer R)[] } ? R : never;

/**
 * Checks a value and returns one line per fault: the path to the field, what was expected, what was there
 * (`functions[2].worker.reservationCount: expected a whole number ≥ 0, got "1"`). Empty means valid.
 */
export function check(value: unknown, schema: Schema, path: string = ''): string[] {
  const faults: string[] = [];
  const here = path || 'the file';
  if (!isA(value, schema)) return [`${here}: expected ${expected(schema)}, got ${show(value)}`];

  if (Array.isArray(value) && schema.items !== undefined) {
    for (const [i, item] of value.entries()) faults.push(...check(item, schema.items, `${path}[${i}]`));
  }
  if (isObject(value)) {
    const at = (key: string) => (path === '' ? key : `${path}.${key}`);
    const known = schema.properties ?? {};
    for (const key of schema.required ?? []) {
      const property = known[key];
      if (!Object.hasOwn(value, key)) faults.push(`${at(key)}: missing, expected ${expected(property || {})}`);
    }
    const options = (schema.oneOf ?? []).map(({ required: [key] }) => key);
    const given = options.filter(key => Object.hasOwn(value, key));
    if (options.length > 0 && given.length !== 1) {
      faults.push(`${here}: expected exactly one of ${options.join(', ')}, got ${given.join(', ') || 'none'}`);
    }
    for (const [key, item] of Object.entries(value)) {
      const property = Object.hasOwn(known, key) ? known[key] : undefined;
      if (property === false) faults.push(`${at(key)}: not allowed here`);
      else if (property !== undefined) faults.push(...check(item, property, at(key)));
      else if (schema.additionalProperties === false) {
        faults.push(`${at(key)}: unknown key, ${meant(key, Object.keys(known))}`);
      }
    }
  }
  for (const part of schema.allOf ?? []) {
    if (part.then !== undefined && part.if !== undefined && check(value, part.if).length === 0) {
      // both may speak of the same field
      faults.push(...check(value, part.then, path).filter(fault => !faults.includes(fault)));
    }
  }
  return faults;
}

/** Writes a value as a person would look for it in the file; long ones are cut. */
export function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isA(value: unknown, schema: Schema): boolean {
  if (schema.enum !== undefined && !(schema.enum as readonly unknown[]).includes(value)) return false;
  if (schema.const !== undefined && schema.const !== value) return false;
  switch (schema.type) {
    case 'object':
      return isObject(value);
    case 'array':
      return Array.isArray(value) && value.length >= (schema.minItems ?? 0);
    case 'boolean':
      return typeof value === 'boolean';
    case 'string':
      if (typeof value !== 'string' || value.length < (schema.minLength ?? 0)) return false;
      return schema.pattern === undefined || new RegExp(schema.pattern, 'u').test(value);
    case 'number':
    case 'integer':
      if (typeof value !== 'number' || (schema.type === 'integer' && !Number.isInteger(value))) return false;
      return (
        value >= (schema.minimum ?? Number.NEGATIVE_INFINITY) &&
        value > (schema.exclusiveMinimum ?? Number.NEGATIVE_INFINITY) &&
        value <= (schema.maximum ?? Number.POSITIVE_INFINITY)
      );
    default:
      return true;
  }
}

function expected(schema: Schema): string {
  if (schema.enum !== undefined) return schema.enum.map(item => JSON.stringify(item)).join(' or ');
  switch (schema.type) {
    case 'object':
      return 'an object';
    case 'array':
      return schema.minItems === undefined ? 'a list' : 'a list that is not empty';
    case 'boolean':
      return 'true or false';
    case 'string':
      if (schema.pattern !== undefined) return `a string like ${show(schema.examples?.[0] ?? schema.pattern)}`;
      return schema.minLength === undefined ? 'a string' : 'a string that is not empty';
    case 'number':
    case 'integer':
      return `${schema.type === 'integer' ? 'a whole number' : 'a number'}${range(schema)}`;
    default:
      return 'a value';
  }
}

function range({ minimum, exclusiveMinimum, maximum }: Schema): string {
  const bounds: string[] = [];
  if (minimum !== undefined) bounds.push(`≥ ${minimum}`);
  if (exclusiveMinimum !== undefined) bounds.push(`> ${exclusiveMinimum}`);
  if (maximum !== undefined) bounds.push(`≤ ${maximum}`);
  return bounds.length === 0 ? '' : ` ${bounds.join(' and ')}`;
}
