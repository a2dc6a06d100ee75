import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { ReadStream } from 'node:tty';

/** What a person at the terminal presses, and the word a script writes for it. */
export const KEYS: readonly { readonly key: string; readonly word: string; readonly meaning: string }[] = [
  { key: 'f', word: 'freeze', meaning: 'freeze all instances' },
  { key: 't', word: 'thaw', meaning: 'thaw them' },
  { key: 'c', word: 'crash', meaning: 'kill one, as the kernel does that is out of memory' },
  { key: '+', word: 'more', meaning: 'one instance more' },
  { key: '-', word: 'less', meaning: 'one instance less' },
  { key: 's', word: 'stop', meaning: 'stop all' },
  { key: 'r', word: 'start', meaning: 'start one, if there is none' },
  { key: 'h', word: 'help', meaning: 'print this' },
  { key: 'q', word: 'quit', meaning: 'stop all and end, as Ctrl-C' },
];

/** Ctrl-C and Ctrl-D, which a terminal passes on when it reads key by key. */
const END_KEYS = ['\x03', '\x04'];

/**
 * Calls `onWord` for every key pressed on a terminal, and for every line of anything else. A process in the
 * background reads no keys: the terminal would stop it.
 *
 * @returns what gives the terminal back as it was.
 */
export function listenForWords(
  input: NodeJS.ReadStream,
  onWord: (word: string, argument: string | undefined) => void,
): () => void {
  input.on('error', () => {});
  if (!input.isTTY) {
    createInterface({ input }).on('line', line => {
      const [word = '', argument] = line.trim().split(/\s+/);
      if (word !== '') onWord(word, argument);
    });
    return () => {};
  }
  if (!isInForeground()) return () => {};
  const terminal: ReadStream = input;
  terminal.setRawMode(true);
  terminal.setEncoding('utf8');
  terminal.on('data', (keys: string) => {
    for (const key of keys) {
      const known = END_KEYS.includes(key) ? 'quit' : KEYS.find(item => item.key === key)?.word;
      if (known !== undefined) onWord(known, undefined);
    }
  });
  return () => {
    terminal.setRawMode(false);
    terminal.pause();
  };
}

/** Whether the terminal's keys are for us. Where nobody can say, they are. */
function isInForeground(): boolean {
  try {
    // after the name, which may hold anything: state, parent, process group, session, terminal, its foreground group
    const [, , group, , , foreground] = readFileSync('/proc/self/stat', 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return group === foreground;
  } catch {
    return true;
  }
}
