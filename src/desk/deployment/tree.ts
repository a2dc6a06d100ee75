import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
} from 'yaml';
import type { Place, Remarks } from './remarks.ts';

/** What stands at a place of a file. */
export type Tree = Leaf | Branch | List;

/** Text, a number, true, false or nothing. */
export interface Leaf extends Place {
  readonly kind: 'leaf';
  readonly value: string | number | boolean | null;
}

/** Names and what they stand for. */
export interface Branch extends Place {
  readonly kind: 'branch';
  readonly entries: ReadonlyMap<string, Tree>;
}

/** One after the other. */
export interface List extends Place {
  readonly kind: 'list';
  readonly items: readonly Tree[];
}

/** More than any deployment has. Aliases of aliases can make a few lines as large as one likes. */
const MAX_PLACES = 20_000;

/**
 * Reads YAML, with the place of everything in it. Aliases and merged maps (`<<`) are followed.
 *
 * @returns undefined if there is nothing to go by; then there is an error among the remarks, or the file is empty.
 * @see YAML 1.2.2
 */
export function readTree(text: string, remark: Remarks): Tree | undefined {
  const lines = new LineCounter();
  // pretty errors would quote the file, which may have secrets
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const lineAt = (offset: number): number => lines.linePos(offset).line;
  for (const { message, pos } of document.errors) remark('error', { line: lineAt(pos[0]), field: '' }, message);
  for (const { message, pos } of document.warnings) remark('warning', { line: lineAt(pos[0]), field: '' }, message);
  if (document.errors.length > 0 || document.contents === null) return undefined;
  try {
    return makeTree(document, lineAt);
  } catch (error) {
    if (!(error instanceof Misplaced)) throw error;
    remark('error', error.place, error.message);
    return undefined;
  }
}

/** Something that a file of YAML may have, but no deployment. */
class Misplaced extends Error {
  readonly place: Place;

  constructor(place: Place, message: string) {
    super(message);
    this.place = place;
  }
}

function makeTree(document: Document.Parsed, lineAt: (offset: number) => number): Tree {
  let count = 0;
  const targets = new Map<Alias, Node | undefined>();
  return visit(document.contents, '', 1, []);

  /** @param above - the nodes on the way here, which an alias must not lead back to. */
  function visit(node: unknown, field: string, line: number, above: readonly Node[]): Tree {
    const here = { line: rangeOf(node) ?? line, field };
    if (++count > MAX_PLACES) throw new Misplaced(here, `expected at most ${MAX_PLACES} values`);
    if (isAlias(node)) {
      const target = targetOf(node);
      if (target === undefined) throw new Misplaced(here, `expected an anchor &${node.source} above, found none`);
      if (above.includes(target)) throw new Misplaced(here, `alias *${node.source} has no end`);
      return { ...visit(target, field, here.line, above), ...here };
    }
    if (isSeq(node)) {
      const items = node.items.map((item, i) => visit(item, `${field}[${i}]`, here.line, [...above, node]));
      return { kind: 'list', ...here, items };
    }
    if (isMap(node)) return branch(node.items, here, [...above, node]);
    const value: unknown = isScalar(node) ? node.value : null;
    if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) {
      return { kind: 'leaf', ...here, value: value as Leaf['value'] };
    }
    throw new Misplaced(here, 'expected text, a number, true, false, a list or a map');
  }

  function branch(pairs: readonly Pair[], here: Place, above: readonly Node[]): Branch {
    const entries = new Map<string, Tree>();
    const merged: Tree[] = [];
    for (const { key, value } of pairs) {
      if (!isScalar(key)) throw new Misplaced(here, 'expected names as keys');
      const name = String(key.value);
      // what stands below is about its name's line
      const place = { line: rangeOf(key) ?? here.line, field: here.field === '' ? name : `${here.field}.${name}` };
      if (name === '<<') {
        const tree = visit(value, here.field, place.line, above);
        merged.push(...(tree.kind === 'list' ? tree.items : [tree]));
      } else entries.set(name, { ...visit(value, place.field, place.line, above), ...place });
    }
    for (const tree of merged) {
      if (tree.kind !== 'branch') throw new Misplaced(tree, 'expected a map, or a list of maps, to merge');
      for (const [name, value] of tree.entries) if (!entries.has(name)) entries.set(name, value);
    }
    return { kind: 'branch', ...here, entries };
  }

  function targetOf(alias: Alias): Node | undefined {
    // each time it would go through the file
    if (!targets.has(alias)) targets.set(alias, alias.resolve(document));
    return targets.get(alias);
  }

  function rangeOf(node: unknown): number | undefined {
    const range = isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range : undefined;
    return range === undefined || range === null ? undefined : lineAt(range[0]);
  }
}

/** What a branch has by a name. */
export const child = (tree: Tree | undefined, name: string): Tree | undefined =>
  tree?.kind === 'branch' ? tree.entries.get(name) : undefined;
