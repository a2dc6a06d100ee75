import { readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FunctionProfile } from '../profile.ts';
import { stampOf, watch } from '../watch.ts';
import type { LoadedFile } from './messages.ts';

/** Sees changes of a function's code. */
export interface CodeWatch {
  /** Takes what a worker has loaded. */
  loaded(files: readonly LoadedFile[]): void;
  close(): void;
}

/** A function that writes what it has just loaded is loaded anew so often in a row. */
const MAX_REWRITES = 3;
const CODE_FILE = /^[^.].*\.([cm]?js|node)$/;

/**
 * Calls `onChange` after code of a function has changed: what its workers have loaded, wherever it is, and the
 * places where they look for the handler. A file that was not loaded is no code, whatever its name, with one
 * exception: a new one beside loaded ones may be what the function lists, or what wins over another.
 *
 * After a change all is forgotten but the places of the handler: the next workers tell what they load.
 */
export function watchCode(profile: FunctionProfile, onChange: () => void): CodeWatch {
  const roots = profile.url.startsWith('file://') ? rootsOf(profile) : [];
  /** Stamps by path. */
  const paths = new Map<string, string>();
  /** Folders of what was loaded. */
  const folders = new Map<string, Folder>();
  let changes = 0;
  /** What was loaded had changed when we heard of it: an edit, or the function's own doing without end. */
  let isRewritten = false;
  let rewrites = 0;

  function look(): number {
    for (const [path, stamp] of paths) {
      const next = stampOf(path);
      if (next === stamp) continue;
      paths.set(path, next);
      changes++;
    }
    let added = 0;
    for (const [path, folder] of folders) {
      readFolder(path, folder);
      added += folder.added.size;
    }
    return changes + added;
  }
  function forget(): void {
    // what has been told of must not be undone
    for (const { added } of folders.values()) changes += added.size;
    paths.clear();
    folders.clear();
    for (const root of roots) paths.set(root, stampOf(root));
  }

  forget();
  const close = watch(look, () => {
    rewrites = isRewritten ? rewrites + 1 : 0;
    isRewritten = false;
    forget();
    onChange();
  });
  return {
    loaded(files) {
      for (const [file, stamp] of files) {
        if (rewrites < MAX_REWRITES) {
          if (stamp !== stampOf(file)) isRewritten = true;
          // it may have come, been loaded and gone again between two looks
          if ((paths.get(file) ?? stamp) !== stamp) changes++;
          paths.set(file, stamp);
        } else paths.set(file, stampOf(file));
        const path = dirname(file);
        let folder = folders.get(path);
        if (folder === undefined) {
          folder = { mark: '', code: new Set(), added: new Set() };
          readFolder(path, folder);
          folder.code = folder.added;
          folder.added = new Set();
          folders.set(path, folder);
        }
        // one that the function itself has made, and loaded
        folder.code.add(basename(file));
        folder.added.delete(basename(file));
      }
    },
    close,
  };
}

/** Where `require` looks for the modules of the handler and the initializer, and what says how. */
function rootsOf({ url, handler = '', initializer }: FunctionProfile): string[] {
  const folder = fileURLToPath(url);
  const roots = new Set([folder, join(folder, 'package.json')]);
  for (const key of initializer === undefined ? [handler] : [handler, initializer]) {
    const file = join(folder, key.slice(0, key.indexOf('.')));
    roots.add(dirname(file)).add(file);
    for (const end of ['.js', '.json', '.node']) roots.add(file + end);
    for (const name of ['package.json', 'index.js']) roots.add(join(file, name));
  }
  return [...roots];
}

/** A folder as it was read last. */
interface Folder {
  /** Another one means that names in it may have changed. */
  mark: string;
  /** Names of code, and of links with what they lead to. */
  code: Set<string>;
  /** Those that were not there at first, and that nobody has loaded. */
  added: Set<string>;
}

/** Reads a folder again if it may have changed. */
function readFolder(path: string, folder: Folder): void {
  try {
    const { dev, ino, mtimeMs, ctimeMs } = statSync(path);
    const mark = `${dev} ${ino} ${mtimeMs} ${ctimeMs}`;
    if (mark === folder.mark) return;
    const added = new Set<string>();
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const isLink = entry.isSymbolicLink();
      if (!isLink && (!CODE_FILE.test(entry.name) || entry.isDirectory())) continue;
      const name = isLink ? `${entry.name} ${identityOf(join(path, entry.name))}` : entry.name;
      if (!folder.code.has(name)) added.add(name);
    }
    folder.added = added;
    folder.mark = mark;
  } catch {
    // it has gone, and what was loaded from it as well; or it cannot be read just now
  }
}

function identityOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.dev} ${stat.ino}`;
}
