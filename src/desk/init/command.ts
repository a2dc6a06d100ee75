import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { type FlagTable, on, readTable, tableText, text } from '../options.ts';
import { refuse } from '../refuse.ts';
import { projectFiles } from './files.ts';

const FLAGS = {
  name: {
    value: 'NAME',
    ...text,
    default: undefined,
    otherwise: "the folder's",
    meaning: 'name of the function on FC: letters, digits, "_" and "-", at most 64',
  },
  help: { ...on, meaning: 'print this' },
} as const satisfies FlagTable;

/** The text of `--help`. */
export const initHelp = (): string => `noslate-fc init: a function to begin with, and all that it is deployed by

Usage: noslate-fc init [FOLDER] [--name NAME]

  FOLDER
      is made if it is not there (default: where you are)

${tableText(FLAGS)}

Writes ${projectFiles('app')
  .map(([path]) => path)
  .join(', ')}.
A file that is there stays as it is, and is named.
`;

/** The command `noslate-fc init`. Ends the process when a file cannot be written. */
export async function init(args: readonly string[]): Promise<void> {
  const problems: string[] = [];
  const words: string[] = [];
  const flags = readTable(FLAGS, args, problems, words);
  if (flags.help) return void process.stdout.write(initHelp());
  if (words.length > 1) problems.push(`expected one FOLDER, got ${words.join(' ')}`);
  const folder = resolve(words[0] ?? '.');
  const name = flags.name ?? nameOf(folder);
  if (!NAME.test(name)) {
    problems.push(`--name: expected letters, digits, "_" and "-", a letter or "_" first, at most 64, got "${name}"`);
  }
  if (problems.length > 0) refuse('init', problems);

  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  for (const [path, content] of projectFiles(name)) {
    say(write(join(folder, path), content) ? `wrote  ${path}` : `kept   ${path}, which was there`);
  }
  const here = relative('', folder);
  say('\nNext:');
  if (here !== '') say(`  cd ${/^[\w./-]+$/.test(here) ? here : `'${here.replace(/'/g, `'\\''`)}'`}`);
  say('  npx noslate-fc dev\n\nIn another terminal:');
  say('  curl http://localhost:8080/you');
  say(
    `  npx noslate-fc event timer | curl -d @- http://localhost:8080/2023-03-30/functions/${name}/invocations\n\nREADME.md has the rest.`,
  );
}

/** FC's rule for names of functions. */
const NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/;

/** The folder's name, as far as FC allows it. */
function nameOf(folder: string): string {
  const name = basename(folder)
    .replace(/[^A-Za-z0-9_-]+/g, '-')
    .replace(/^[^A-Za-z_]+|-+$/g, '')
    .slice(0, 64);
  return name === '' ? 'app' : name;
}

/** Writes a file, unless there is anything by that name. */
function write(file: string, content: string): boolean {
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content, { flag: 'wx' });
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && (error as NodeJS.ErrnoException).syscall === 'open') return false;
    return refuse('init', [`cannot write ${file}: ${code}`], 1);
  }
}
