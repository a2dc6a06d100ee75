import { meant } from '../../nearest.ts';
import type { Json } from './templates.ts';

/**
 * Gives an event with a value changed.
 *
 * @param change - `path=value`: a dotted path to what is there (`events.0.oss.object.key`). Where text stands, the value
 *   is text; elsewhere it is JSON.
 * @throws {Error} saying what was expected: there is no such place, or the value is not JSON.
 */
export function changed(event: Json, change: string): Json {
  const [path = '', text] = change.split(/=(.*)/s);
  if (text === undefined || path === '') throw new Error(`expected PATH=VALUE, got "${change}"`);
  return visit(event, path.split('.'), 0);

  function visit(here: Json, keys: readonly string[], depth: number): Json {
    const key = keys[depth];
    if (key === undefined) return typeof here === 'string' ? (text ?? '') : parse(text ?? '');
    const entries = typeof here === 'object' && here !== null ? Object.entries(here) : [];
    if (!entries.some(([name]) => name === key)) {
      const place = depth === 0 ? 'the event' : keys.slice(0, depth).join('.');
      const names = entries.map(([name]) => name);
      const what = names.length === 0 ? 'it has nothing below it' : meant(key, names);
      throw new Error(`${path}: no "${key}" in ${place}, ${what}`);
    }
    const next = entries.map(([name, value]) => [name, name === key ? visit(value, keys, depth + 1) : value] as const);
    return Array.isArray(here) ? next.map(([, value]) => value) : Object.fromEntries(next);
  }

  function parse(json: string): Json {
    try {
      return JSON.parse(json) as Json;
    } catch {
      throw new Error(`${path}: expected JSON, got "${json}"`);
    }
  }
}
