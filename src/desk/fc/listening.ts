import { linkOf, list, readProc } from './processes.ts';

/** An address that is listened on. */
export interface Address {
  /** `127.0.0.1`, `0.0.0.0`, or of IPv6 `::`, `::1`, or `…` for any other. */
  readonly host: string;
  readonly port: number;
}

/** The state of a socket that listens, as the kernel's tables have it. */
const LISTEN = '0A';

/** Where these processes listen, by TCP. None where there is no /proc. */
export function listening(pids: readonly number[]): Address[] {
  const held = new Set(pids.flatMap(socketsOf));
  if (held.size === 0) return [];
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap(file =>
    (readProc(file) ?? '').split('\n').flatMap(line => {
      const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
      const [host = '', port = ''] = local.split(':');
      if (state !== LISTEN || !held.has(inode)) return [];
      return [{ host: hostOf(host), port: Number.parseInt(port, 16) }];
    }),
  );
}

/** Inodes of the sockets that a process has open. */
const socketsOf = (pid: number): string[] =>
  list(`/proc/${pid}/fd`).flatMap(fd => {
    const [, inode] = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`)) ?? [];
    return inode === undefined ? [] : [inode];
  });

/** The kernel writes words of 32 bits in the machine's own order, which is little-endian wherever Node.js runs on Linux. */
function hostOf(hex: string): string {
  if (hex.length === 8)
    return (hex.match(/../g) ?? [])
      .reverse()
      .map(byte => Number.parseInt(byte, 16))
      .join('.');
  if (/^0+$/.test(hex)) return '::';
  return hex === '00000000000000000000000001000000' ? '::1' : '…';
}
