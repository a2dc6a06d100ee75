import { type FSWatcher, readdirSync, watch } from 'node:fs';
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
  const watchers: FSWatcher[] = [];
  let timer: NodeJS.Timeout | undefined;

  function onEvent(_: string, file: string | Buffer | null): void {
    if (file === null || !matches(file.toString())) return;
    clearTimeout(timer);
    timer = setTimeout(onChange, SETTLE_MS);
  }

  function add(path: string): void {
    if (watchers.length === MAX_FOLDERS) return;
    try {
      const watcher = watch(path, onEvent);
      // removed folders and exhausted handles arrive as 'error'; the gateway goes on without the watch
      watcher.on('error', () => watcher.close());
      watchers.push(watcher);
      if (!deep) return;
      for (const entry of readdirSync(path, { withFileTypes: true })) {
        if (entry.isDirectory() && entry.name !== 'node_modules' && !entry.name.startsWith('.'))
          add(join(path, entry.name));
      }
    } catch {
      // missing or unreadable: who loads from it reports that
    }
  }

  add(folder);
  return () => {
    clearTimeout(timer);
    for (const watcher of watchers) watcher.close();
  };
}
