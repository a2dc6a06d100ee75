import type { ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import { LIMITS } from './limits.ts';

/** What a container has printed. */
export interface ContainerLog {
  /** Since so many bytes of it, at most the 4 KiB that FC gives. */
  tail(since: number): string;
  length(): number;
}

/**
 * Collects what a process prints, and tells each line.
 *
 * @param maxLine - bytes after which a line is cut; 0 is never.
 */
export function collectLog(
  child: ChildProcess,
  maxLine: number,
  tell: (stream: 'stdout' | 'stderr', line: string) => void,
): ContainerLog {
  let length = 0;
  let kept = '';
  const collect = (stream: Readable | null, name: 'stdout' | 'stderr'): void => {
    let rest = '';
    const print = (line: string): void => {
      const cut = maxLine === 0 ? line : line.slice(0, maxLine);
      length += cut.length + 1;
      kept = `${kept}${cut}\n`.slice(-LIMITS.logTail);
      tell(name, cut);
    };
    stream?.setEncoding('utf8');
    stream?.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) print(line);
    });
    stream?.on('end', () => {
      if (rest !== '') print(rest);
    });
  };
  collect(child.stdout, 'stdout');
  collect(child.stderr, 'stderr');
  return { tail: since => (since >= length ? '' : kept.slice(-(length - since))), length: () => length };
}
