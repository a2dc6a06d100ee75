import type { Remarks } from './remarks.ts';
import { child, type Leaf, type Tree } from './tree.ts';

/** A variable may stand for text with variables in it, but not for ever. */
const MAX_DEPTH = 8;

/** Variables of Serverless Devs, as they stand in the text of a value. */
const VARIABLE = /\$\{([^{}]*)\}/g;

/** What variables are taken from. */
export interface Scope {
  readonly root: Tree;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** A value whose variables are filled in. */
export interface Filled {
  readonly value: Leaf['value'];
  /** What came from outside the file is text, whatever it looks like. */
  readonly isFilled: boolean;
}

/**
 * Fills in the variables of a value: `${env(NAME)}`, with or without quotes and a default, and `${vars.name}`. Those that
 * cannot be filled in are told.
 *
 * @returns undefined if one of them could not be filled in.
 * @see Serverless Devs, "Yaml", variables
 */
export function fill(leaf: Leaf, scope: Scope, remark: Remarks, depth: number = 0): Filled | undefined {
  if (typeof leaf.value !== 'string' || !leaf.value.includes('${')) return { value: leaf.value, isFilled: false };
  const [whole] = /^\$\{[^{}]*\}$/.exec(leaf.value) ?? [];
  const found: Leaf['value'][] = [];
  for (const [text, inner = ''] of leaf.value.matchAll(VARIABLE)) {
    const value = lookUp(inner.trim(), scope, leaf, remark, depth);
    if (typeof value === 'object' && value !== null) {
      remark('warning', leaf, `${text}: ${value.problem}; this is left out`);
      return undefined;
    }
    if (value === undefined) return undefined;
    found.push(value);
  }
  if (found.length === 0) {
    remark('warning', leaf, `${leaf.value}: expected a variable like \${env(NAME)} or \${vars.name}`);
    return undefined;
  }
  // what is all there is keeps its type
  if (whole !== undefined) return { value: found[0] ?? null, isFilled: true };
  return { value: leaf.value.replace(VARIABLE, () => String(found.shift() ?? '')), isFilled: true };
}

type Answer = Leaf['value'] | undefined | { readonly problem: string };

/** Undefined for what has been told already. */
function lookUp(inner: string, scope: Scope, leaf: Leaf, remark: Remarks, depth: number): Answer {
  const [, name, , , other] =
    /^env\(\s*(?:["']?([A-Za-z_][A-Za-z0-9_]*)["']?)\s*(,\s*(["']?)(.*?)\3\s*)?\)$/.exec(inner) ?? [];
  if (name !== undefined) {
    return scope.environment[name] ?? other ?? { problem: `${name} is not set here` };
  }
  const [, path] = /^vars\.([\w.-]+)$/.exec(inner) ?? [];
  if (path === undefined) return { problem: `is not filled in here, but \${env(NAME)} and \${vars.name} are` };
  const tree = path.split('.').reduce<Tree | undefined>(child, child(scope.root, 'vars'));
  if (tree === undefined) return { problem: `expected vars.${path} in the file, found none` };
  if (tree.kind !== 'leaf') return { problem: `expected text or a number in vars.${path}, got a ${tree.kind}` };
  if (depth >= MAX_DEPTH) return { problem: 'has no end' };
  return fill({ ...tree, line: leaf.line, field: leaf.field }, scope, remark, depth + 1)?.value;
}
