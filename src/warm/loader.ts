import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import NodeModule from 'node:module';
import { dirname, join, sep } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';
import { type Identity, isSame, openPack, type Pack, type PackedModule, writePack } from './pack.ts';

/** A module of Node's CommonJS loader. */
interface LoadedModule {
  exports: unknown;
  /** Its folder. */
  readonly path: string;
  require(request: string): unknown;
  _compile(content: string, filename: string, format?: string): unknown;
}

/** The parts of Node's CommonJS loader that everything like this has always hooked: ts-node, nyc, v8-compile-cache. */
interface Loader {
  readonly prototype: LoadedModule;
  readonly _extensions: Record<string, (module: LoadedModule, filename: string) => void>;
  readonly _cache: object;
  _resolveFilename(request: string, parent: LoadedModule | null | undefined, isMain: boolean, options?: object): string;
  _resolveLookupPaths(request: string, parent: LoadedModule): string[] | null;
}

const node = NodeModule as unknown as Loader;

/** Node's own, with the five names that a module finds around it. */
const HEAD = '(function (exports, require, module, __filename, __dirname) { ';
const TAIL = '\n})';

type Wrapper = (
  this: unknown,
  exports: unknown,
  require: unknown,
  module: LoadedModule,
  filename: string,
  folder: string,
) => void;

/** How long no module is loaded before what has been loaded is written, and let go of where it was read, ms. */
const QUIET_MS = 300;
const RELEASE_MS = 10_000;

/** In a comment for TypeScript, as in `@type {import('./a')}`. */
const TYPE_COMMENT = /@\w+\s*\{[^{}]*\}/g;

/** Options of Node.js that set sizes of the heap. Noslate starts each worker with one, by its function's memory. */
const HEAP_OPTION = /^--(?:max|min|initial)[-_](?:heap|(?:old|semi)[-_]space)[-_]size=\d+$/;

/**
 * Makes this process load its modules from a pack: no file is looked for, read or compiled that was when the pack was
 * made. Everything else about a module is Node's own business, and so is every module that the pack does not have.
 *
 * @param file - the pack. A missing, foreign or outdated one costs a line on stderr; code that V8 refuses, too.
 */
export function usePack(file: string): void {
  let pack: Pack | undefined;
  try {
    pack = openPack(file);
    if (!isSame(pack.identity, identify())) throw new Error('made of another installation, or by another Node.js');
  } catch (error) {
    pack?.close();
    say(`${file} is not used: ${error instanceof Error ? error.message : error}`);
    return;
  }
  // its texts and its index would stay in memory as long as the process
  setTimeout(() => {
    pack?.close();
    pack = undefined;
  }, RELEASE_MS).unref();
  const resolve = node._resolveFilename;
  node._resolveFilename = (request, parent, isMain, options) =>
    (options === undefined && parent ? pack?.resolve(parent.path, request) : undefined) ??
    resolve.call(node, request, parent, isMain, options);

  const restore = hideHeapOptions();
  let isCodeGood = true;
  let refused = 0;
  const js = node._extensions['.js'];
  node._extensions['.js'] = (module, filename) => {
    const packed = pack?.get(filename);
    if (packed === undefined) return js?.(module, filename);
    const script = compile(isCodeGood ? packed : { ...packed, code: undefined }, filename);
    if (script.cachedDataRejected === true && refused++ === 0) {
      setImmediate(() => say(`${file}: V8 refused the code of ${refused} modules, which were compiled instead`));
    }
    run(script, module, filename);
    if (restore === undefined || (module as unknown) !== process.mainModule) return;
    // for the threads that it may start; Node.js 16 takes no code any more then
    restore();
    isCodeGood = false;
  };
  const json = node._extensions['.json'];
  node._extensions['.json'] = (module, filename) => {
    const packed = pack?.get(filename);
    if (packed === undefined) return json?.(module, filename);
    module.exports = JSON.parse(packed.text);
  };
}

/**
 * Keeps what this process loads of its own package and all below, and writes it as a pack whenever nothing more has
 * come for a moment, and at its end: functions that have run by then are in the code caches.
 */
export function makePack(file: string): void {
  let identity: Identity;
  try {
    identity = identify();
  } catch (error) {
    say(`${file} is not made: ${error instanceof Error ? error.message : error}`);
    return;
  }
  const scope = dirname(identity.files[0]?.[0] ?? '') + sep;
  const texts = new Map<string, string>();
  const scripts = new Map<string, Script>();
  const resolutions = new Map<string, Map<string, string>>();
  let quiet: NodeJS.Timeout | undefined;

  const write = (): void => {
    const modules = [...texts].map(([filename, text]): [string, PackedModule] => [
      filename,
      { text, code: scripts.get(filename)?.createCachedData() },
    ]);
    writePack(file, { identity, modules: new Map(modules), resolutions });
  };
  const keep = (filename: string, text: string): void => {
    texts.set(filename, text);
    clearTimeout(quiet);
    quiet = setTimeout(write, QUIET_MS);
    quiet.unref();
  };
  process.on('exit', write);
  process.on('SIGTERM', () => {
    // a program that does not handle it would have ended here
    if (process.listenerCount('SIGTERM') === 1) process.exit(143);
  });
  hideHeapOptions();

  const resolve = node._resolveFilename;
  node._resolveFilename = (request, parent, isMain, options) => {
    const filename = resolve.call(node, request, parent, isMain, options);
    // what lies elsewhere, as functions do, can change while the package stays
    if (options === undefined && `${parent?.path}${sep}`.startsWith(scope) && filename.startsWith(scope)) {
      const folder = parent?.path ?? '';
      const requests = resolutions.get(folder) ?? new Map<string, string>();
      resolutions.set(folder, requests.set(request, filename));
    }
    return filename;
  };
  const own = node.prototype._compile;
  // Node has read the file and found it to be CommonJS
  node.prototype._compile = function (content, filename, format) {
    // import() asks for the loader of the module that it stands in, which a script of ours has not
    const isImporting = /\bimport\s*\(/.test(content.replace(TYPE_COMMENT, ''));
    if (!filename.startsWith(scope) || format === 'module' || isImporting)
      return own.call(this, content, filename, format);
    const text = `${HEAD}${content.replace(/^#!/, '//')}${TAIL}`;
    const script = compile({ text, code: undefined }, filename);
    scripts.set(filename, script);
    keep(filename, text);
    return run(script, this, filename);
  };
  const json = node._extensions['.json'];
  node._extensions['.json'] = (module, filename) => {
    json?.(module, filename);
    if (filename.startsWith(scope)) keep(filename, readFileSync(filename, 'utf8').replace(/^\uFEFF/, ''));
  };
}

/**
 * Has V8 forget that it was told sizes of the heap, which it has by then: code is only for a V8 with the same options.
 *
 * @returns what tells it again; nothing when it was told none.
 */
function hideHeapOptions(): (() => void) | undefined {
  const options = process.execArgv.filter(option => HEAP_OPTION.test(option));
  if (options.length === 0) return undefined;
  for (const option of options) setFlagsFromString(`${option.slice(0, option.indexOf('='))}=0`);
  return () => options.forEach(setFlagsFromString);
}

function compile({ text, code }: PackedModule, filename: string): Script {
  const options = { filename, columnOffset: -HEAD.length };
  return new Script(text, code === undefined ? options : { ...options, cachedData: code });
}

function run(script: Script, module: LoadedModule, filename: string): void {
  const wrapper = script.runInThisContext() as Wrapper;
  wrapper.call(module.exports, module.exports, requireOf(module), module, filename, dirname(filename));
}

/** The `require` of a module, with all that Node's has. */
function requireOf(module: LoadedModule): unknown {
  const resolve = (request: string, options?: object): string => node._resolveFilename(request, module, false, options);
  return Object.assign((request: string) => module.require(request), {
    resolve: Object.assign(resolve, { paths: (request: string) => node._resolveLookupPaths(request, module) }),
    main: process.mainModule,
    extensions: node._extensions,
    cache: node._cache,
  });
}

/** What this process is about to run: its package first, which is known by the nearest package.json. */
function identify(): Identity {
  // both planes load from one pack: they have nearly all of their modules in common
  const entry = realpathSync(process.argv[1] ?? '').replace(/\bcontrol_plane$/, 'data_plane');
  const files = [packageOf(entry), entry].map(file => {
    const { size, mtimeMs } = statSync(file);
    // an image's layers keep whole seconds
    return [file, size, Math.floor(mtimeMs / 1000)] as const;
  });
  return { node: `${process.version} ${process.arch}`, files };
}

/** @throws {Error} the file is in no package. */
function packageOf(filename: string): string {
  for (let folder = dirname(filename); ; folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (existsSync(file)) return file;
    if (folder === dirname(folder)) throw new Error(`no package.json above ${filename}`);
  }
}

function say(text: string): void {
  process.stderr.write(`noslate-fc warm: ${text}\n`);
}
