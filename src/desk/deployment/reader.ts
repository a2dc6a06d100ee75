import { meant } from '../../nearest.ts';
import { show } from '../../schema.ts';
import { outside, type Range } from './limits.ts';
import type { Remarks } from './remarks.ts';
import type { Branch, Leaf, Tree } from './tree.ts';
import { fill, type Scope } from './variables.ts';

/**
 * What becomes of each key of a map: it is taken; it changes nothing here (`null`); or it is not played, for which there
 * are words.
 */
export type Table = Readonly<Record<string, ((tree: Tree) => void) | string | null>>;

/** Reads values, and remarks on what is wrong with them. Undefined is what could not be read. */
export interface Reader {
  readonly remark: Remarks;
  /** Goes through a map. A key that is not in the table is told, and what was probably meant. */
  walk(tree: Tree, table: Table): void;
  number(tree: Tree, range: Range): number | undefined;
  text(tree: Tree): string | undefined;
  oneOf<const T extends string>(tree: Tree, ...values: T[]): T | undefined;
  flag(tree: Tree): boolean | undefined;
  branch(tree: Tree): Branch | undefined;
  /** The items of a list; none if it is not one. */
  list(tree: Tree): readonly Tree[];
  /** The value of a leaf, its variables filled in. Where it is a secret, nothing of it may be shown. */
  leaf(tree: Tree): { readonly value: Leaf['value']; readonly isFilled: boolean } | undefined;
}

/** Makes a reader for a file. */
export function createReader(scope: Scope, remark: Remarks): Reader {
  const wrong = (tree: Tree, expected: string, got: string): undefined =>
    void remark('error', tree, `expected ${expected}, got ${got}`);

  function leaf(tree: Tree, expected: string): ReturnType<Reader['leaf']> {
    if (tree.kind !== 'leaf') return wrong(tree, expected, tree.kind === 'list' ? 'a list' : 'a map');
    return fill(tree, scope, remark);
  }

  /** A value of one type. */
  function one<T extends Leaf['value']>(
    tree: Tree,
    expected: string,
    parse: (value: Leaf['value'], isFilled: boolean) => T | undefined,
  ): T | undefined {
    const found = leaf(tree, expected);
    if (found === undefined) return undefined;
    return parse(found.value, found.isFilled) ?? wrong(tree, expected, show(found.value));
  }

  function branch(tree: Tree): Branch | undefined {
    if (tree.kind === 'branch') return tree;
    return wrong(tree, 'a map', tree.kind === 'list' ? 'a list' : show(tree.value));
  }

  return {
    remark,
    leaf: tree => leaf(tree, 'text'),
    branch,
    walk(tree, table) {
      for (const [key, value] of branch(tree)?.entries ?? []) {
        const rule = Object.hasOwn(table, key) ? table[key] : undefined;
        if (typeof rule === 'function') rule(value);
        else if (typeof rule === 'string') remark('warning', value, `not played here: ${rule}`);
        else if (rule === undefined) remark('warning', value, `unknown key, ${meant(key, Object.keys(table))}`);
      }
    },
    number(tree, range) {
      const problem = outside(Number.NaN, range) ?? '';
      return one(tree, problem.replace('expected ', ''), (value, isFilled) => {
        const number = isFilled && typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
        return typeof number === 'number' && outside(number, range) === undefined ? number : undefined;
      });
    },
    text: tree => one(tree, 'text', value => (typeof value === 'string' && value !== '' ? value : undefined)),
    oneOf: (tree, ...values) => one(tree, values.join(' or '), value => values.find(item => item === value)),
    flag: tree =>
      one(tree, 'true or false', (value, isFilled) => {
        if (isFilled && (value === 'true' || value === 'false')) return value === 'true';
        return typeof value === 'boolean' ? value : undefined;
      }),
    list: tree =>
      tree.kind === 'list'
        ? tree.items
        : (wrong(tree, 'a list', tree.kind === 'leaf' ? show(tree.value) : 'a map') ?? []),
  };
}
