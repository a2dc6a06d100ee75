import { type FSWatcher, readdirSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';

/** One save is several events, and an editor may write a file in steps; what follows within this belongs together. */
const SETTLE_MS = 50;
/** A function's folder has a few; a root folder given by mistake has more than there are watch handles. */
const MAX_FOLDERS = 256;

/**
 * Calls `onChange` after a file that `matches` was written, made, renamed or removed in a folder or, with
 * `deep`, anywhere below it (`node_modules` and dot folders aside). Folders are watched, not files: editors
 * save by renaming a new file over the old one, which a watch on the file would not survive.
 *
 * A folder that cannot be watched is left out. Returns the function that ends it.
 */
export function watchFolder(
  folder: string,
  deep: boolean,
  matches: (file: string) => boolean,
  onChange: () => void,
): () => void {
  const watchers = new Map<string, FSWatcher>();
  let timer: NodeJS.Timeout | undefined;

  function onEvent(path: string, file: string): void {
    if (deep && isFolder(join(path, file))) add(join(path, file));
    else if (!matches(file)) return;
    clearTimeout(timer);
    timer = setTimeout(onChange, SETTLE_MS);
  }

  function remove(path: string): void {
    watchers.get(path)?.close();
    watchers.delete(path);
  }

  function add(path: string): void {
    if (watchers.has(path) || watchers.size === MAX_FOLDERS) return;
    try {
      const watcher = watch(path, (_, file) => onEvent(path, String(file)));
      // a folder that went away, or no handle left: the gateway goes on without this watch
      watcher.on('error', () => remove(path));
      watchers.set(path, watcher);
      if (deep) for (const entry of readdirSync(path)) if (isFolder(join(path, entry))) add(join(path, entry));
    } catch {
      // missing or unreadable: who loads from it reports that
    }
  }

  add(folder);
  return () => {
    clearTimeout(timer);
    for (const path of [...watchers.keys()]) remove(path);
  };
}

function isFolder(path: string): boolean {
  if (/[\\/](node_modules|\.[^\\/]*)$/.test(path)) return false;
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
