import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { stampOf } from '../watch.ts';
import type { LoadedFile } from './messages.ts';

/** What `npm` has put there changes with a package.json, or by hand. */
const INSTALLED = /[\\/]node_modules[\\/]/;
const SCRIPT = /\.[cm]?js$/;
/** `import` and `export … from` with a path, as written by people and by tools that leave out blanks. */
const IMPORT = /\b(?:import|from)\s*\(?\s*(["'`])(\.\.?\/[^"'`\n]+)\1/g;

/**
 * Tells which files of code this thread loads from now on, each as it was just before it was loaded: what is
 * required, and what that imports as an ES module by a path that is written out. Of ES modules Node has no list.
 */
export function tellLoaded(tell: (files: LoadedFile[]) => void): void {
  const { extensions } = createRequire(__filename);
  const known = new Set<string>();
  let loaded: LoadedFile[] = [];

  function add(file: string): void {
    if (INSTALLED.test(file)) return;
    // before an answer that may come in the same turn: whoever has seen it may change the file
    if (loaded.length === 0) process.nextTick(flush);
    loaded.push([file, stampOf(file)]);
  }
  function flush(): void {
    // it grows as it is gone through
    for (const [file] of loaded) {
      if (known.has(file)) continue;
      known.add(file);
      if (SCRIPT.test(file)) for (const imported of importsOf(file)) if (!known.has(imported)) add(imported);
    }
    const files = loaded;
    loaded = [];
    tell(files);
  }

  for (const [extension, load] of Object.entries(extensions)) {
    if (load === undefined) continue;
    extensions[extension] = (module, file) => {
      add(file);
      load(module, file);
    };
  }
}

function importsOf(file: string): string[] {
  try {
    const base = pathToFileURL(file);
    return Array.from(readFileSync(file, 'utf8').matchAll(IMPORT), match =>
      fileURLToPath(new URL(match[2] ?? '', base)),
    );
  } catch {
    // it has gone, or the text in quotes was no path after all
    return [];
  }
}
