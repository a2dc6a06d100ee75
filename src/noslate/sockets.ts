import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** A plane's socket. */
export interface SocketFile {
  /** `dp-0`, `cp-0`. */
  readonly name: string;
  readonly kind: 'dp' | 'cp';
  readonly path: string;
  /** Another one means another process: a plane unlinks its socket and makes it anew. */
  readonly inode: number;
}

/** Lists the sockets of planes in a folder; none when there is no such folder yet. */
export function listSockets(folder: string): SocketFile[] {
  try {
    return readdirSync(folder).flatMap(file => {
      const [, name, kind] = /^((dp|cp)-\d+)\.sock$/.exec(file) ?? [];
      if (name === undefined) return [];
      const path = join(folder, file);
      const inode = statSync(path, { throwIfNoEntry: false })?.ino;
      return inode === undefined ? [] : [{ name, kind: kind as 'dp' | 'cp', path, inode }];
    });
  } catch {
    return [];
  }
}
