import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, parse } from 'node:path';

/** First argument of a process that runs the same file to load a function's code, and does nothing else. */
export const PROBE = 'probe';

/**
 * What such a process is asked by its first message: to load each `FILE.EXPORT` of a folder, as a worker does. Without
 * FILE it is the folder that is loaded, a package.
 */
export interface Question {
  readonly folder: string;
  readonly keys: readonly string[];
}

/** What it answers: for each key, what is wrong with it, or null. */
export type Answer = readonly (string | null)[];

/** Runs as such a process. It lives on until it is ended: what the code has begun may keep it from that. */
export function probe(): void {
  // the function's arguments are its own
  process.argv.length = 2;
  process.once('message', ({ folder, keys }: Question) => {
    const answer: Answer = keys.map(key => faultOf(folder, key));
    process.send?.(answer);
  });
}

function faultOf(folder: string, key: string): string | null {
  const dot = key.indexOf('.');
  const [file, name] = [key.slice(0, dot), key.slice(dot + 1)];
  const require = createRequire(join(folder, 'index.js'));
  try {
    require.resolve(join(folder, file));
  } catch {
    return file === ''
      ? `expected a package in ${folder}, got none`
      : `expected a file ${file}.js in ${folder}, got ${othersLike(file, folder)}`;
  }
  try {
    const module: unknown = require(join(folder, file));
    const value: unknown = Object(module)[name];
    if (typeof value === 'function') return null;
    const exported = Object.keys(Object(module)).slice(0, 10).join(', ') || 'nothing';
    return `expected a function, got ${value === undefined ? 'none' : typeof value}: ${file || 'it'} exports ${exported}`;
  } catch (error) {
    return `${file || 'it'} cannot be loaded: ${reason(error, folder)}`;
  }
}

/** Files that differ from one that is missing by their extension alone: index.ts, index.mjs. */
function othersLike(file: string, folder: string): string {
  return (
    readdirSync(folder)
      .filter(name => parse(name).name === file)
      .join(', ') || 'none'
  );
}

/** The first line of an error, and where in the function's own code it came up. */
function reason(error: unknown, folder: string): string {
  if (!(error instanceof Error)) return String(error);
  const [line] = error.message.split('\n');
  const inside = `${folder}/`;
  const places = (error.stack ?? '').split(inside).slice(1);
  const place = places.map(text => /^[^\s()]+:\d+/.exec(text)?.[0]).find(text => text !== undefined);
  return `${error.name}: ${line}${place === undefined ? '' : ` (${place})`}`;
}
