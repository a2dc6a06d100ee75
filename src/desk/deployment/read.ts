import type { Flavour } from '../fc/settings.ts';
import type { Deployed } from './deployed.ts';
import { readFc2 } from './fc2.ts';
import { readFc3 } from './fc3.ts';
import { createReader, type Reader } from './reader.ts';
import type { Place, Remark } from './remarks.ts';
import { child, readTree, type Tree } from './tree.ts';
import { fill, type Scope } from './variables.ts';

/** What was found in a file. */
export interface Reading {
  /** Where the function stands: `resources.app`; empty without one. */
  readonly place: string;
  /** Undefined if there is no function that can be played. */
  readonly deployed: Deployed | undefined;
  /** In the order of the file. */
  readonly remarks: readonly Remark[];
}

/** One of the file's parts, which may be a function. */
interface Candidate {
  readonly tree: Tree;
  readonly flavour: Flavour;
  readonly props: Tree;
  readonly name: string | undefined;
}

/**
 * Reads a file of Serverless Devs, of FC 3.0's component `fc3` or 2.0's `fc`.
 *
 * @param chosen - name of the function, or of its part of the file; needed where there are several.
 * @param environment - what `${env(NAME)}` is taken from.
 */
export function readDeployment(
  text: string,
  chosen: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): Reading {
  const remarks: Remark[] = [];
  const remark: Reader['remark'] = (kind, { line, field }, said) => {
    remarks.push({ kind, line, field, text: said });
  };
  const done = (place: string, deployed: Deployed | undefined): Reading => ({
    place,
    deployed,
    remarks: [...remarks].sort((a, b) => a.line - b.line),
  });

  const root = readTree(text, remark);
  if (remarks.some(({ kind }) => kind === 'error')) return done('', undefined);
  const parts = child(root, 'resources') ?? child(root, 'services');
  if (root === undefined || parts?.kind !== 'branch') {
    remark('error', parts ?? { line: 1, field: '' }, 'expected resources, or services of edition 1, as a map');
    return done('', undefined);
  }
  const scope = { root, environment };
  const read = createReader(scope, remark);
  const candidates = [...parts.entries.values()].flatMap(tree => candidate(read, scope, tree));
  const one = choose(read, candidates, chosen, parts);
  if (one === undefined) return done('', undefined);
  return done(one.tree.field, (one.flavour === '3.0' ? readFc3 : readFc2)(read, one.props));
}

/** A part of the file if it can be played, or none, and why. */
function candidate(read: Reader, scope: Scope, tree: Tree): Candidate[] {
  const [component, props] = [child(tree, 'component'), child(tree, 'props')];
  if (component === undefined || props === undefined) {
    read.remark('error', tree, 'expected component and props');
    return [];
  }
  const called = read.text(component);
  if (called === undefined) return [];
  // devsapp/fc3@0.0.1
  const [kind = ''] = called.replace(/^.*\//, '').split('@');
  if (kind !== 'fc3' && kind !== 'fc') {
    read.remark('warning', component, `not played here: ${called}, but fc3 and fc are`);
    return [];
  }
  const flavour = kind === 'fc3' ? '3.0' : '2.0';
  const own = flavour === '3.0' ? props : (child(props, 'function') ?? props);
  const runtime = child(own, 'runtime');
  if (runtime === undefined) {
    read.remark('error', own, 'runtime: missing, expected custom-container');
    return [];
  }
  const runs = read.text(runtime);
  if (runs !== 'custom-container') {
    if (runs !== undefined) read.remark('warning', runtime, `not played here: ${runs}, but custom-container is`);
    return [];
  }
  const name = child(own, flavour === '3.0' ? 'functionName' : 'name');
  // what is wrong with it is told when it is read
  const filled = name?.kind === 'leaf' ? fill(name, scope, () => {})?.value : undefined;
  return [{ tree, flavour, props, name: filled === undefined ? undefined : String(filled) }];
}

function choose(
  { remark }: Reader,
  candidates: readonly Candidate[],
  chosen: string | undefined,
  parts: Place,
): Candidate | undefined {
  const keyOf = ({ tree }: Candidate): string => tree.field.slice(tree.field.indexOf('.') + 1);
  const names = candidates.map(item => item.name || keyOf(item)).join(', ');
  const fit =
    chosen === undefined ? candidates : candidates.filter(item => item.name === chosen || keyOf(item) === chosen);
  if (fit.length === 1) return fit[0];
  if (fit.length > 1) {
    remark('error', parts, `expected --function with one of ${names}`);
  } else if (chosen !== undefined) {
    remark(
      'error',
      parts,
      `--function: expected one of ${names || 'none, for there is no function to play'}, got "${chosen}"`,
    );
  } else remark('warning', parts, 'expected a function whose runtime is custom-container, found none');
  return undefined;
}
