import { now } from '../clock.ts';
import type { Log } from '../log.ts';
import { createPlane, type Plane } from './plane.ts';
import { listSockets, type SocketFile } from './sockets.ts';

/**
 * How often the sockets are looked at: a plane that boots, or boots again, must not wait for us. What has
 * been missing for long may never come, and what is there may at most get company. ms.
 */
const LOOK_MS = { missing: 10, longMissing: 200, complete: 1000 };
const LONG_MS = 10_000;

/** What hears of planes. */
export interface PlanesEvents {
  /** It can be called: another process, for all we know. */
  onUp(plane: Plane): void;
  onDown(plane: Plane): void;
  /** A plane may take a call again. */
  onCapacity(): void;
}

/** The planes that there are, by their sockets in a folder. They may come late, go and come back. */
export interface Planes {
  /** Data planes; those that are gone among them. */
  readonly dp: readonly Plane[];
  /** Control planes. */
  readonly cp: readonly Plane[];
  /** Looks now, and again and again until `close`. */
  look(): void;
  isAnyUp(kind: 'dp' | 'cp'): boolean;
  close(): void;
}

/** Looks for planes. @param folder - `$NOSLATED_WORKDIR/socks`. */
export function discover(folder: string, log: Log, events: PlanesEvents): Planes {
  const planes: Readonly<Record<'dp' | 'cp', Plane[]>> = { dp: [], cp: [] };
  /** By socket. */
  const known = new Map<string, { readonly plane: Plane; inode: number }>();
  let timer: NodeJS.Timeout | undefined;
  let missingSince = now();
  let isClosed = false;

  const isAnyUp = (kind: 'dp' | 'cp'): boolean => planes[kind].some(({ isUp }) => isUp);

  function look(): void {
    for (const socket of listSockets(folder)) {
      const found = known.get(socket.name);
      if (found === undefined) add(socket);
      else if (found.inode !== socket.inode) {
        found.inode = socket.inode;
        found.plane.replace();
      } else found.plane.connect();
    }
    lookAgain();
  }

  function lookAgain(): void {
    clearTimeout(timer);
    if (isClosed) return;
    const isComplete = isAnyUp('dp') && isAnyUp('cp');
    if (isComplete) missingSince = now();
    const isLong = now() - missingSince > LONG_MS;
    timer = setTimeout(look, isComplete ? LOOK_MS.complete : isLong ? LOOK_MS.longMissing : LOOK_MS.missing);
  }

  function add({ name, kind, path, inode }: SocketFile): void {
    const plane = createPlane(name, kind, path, {
      onUp() {
        log.info('plane up', { plane: name });
        lookAgain();
        events.onUp(plane);
      },
      onDown(error) {
        if (isClosed) return;
        log.warn('plane down', { plane: name, reason: error.message });
        lookAgain();
        events.onDown(plane);
      },
      onCapacity: events.onCapacity,
    });
    known.set(name, { plane, inode });
    planes[kind].push(plane);
    plane.connect();
  }

  return {
    ...planes,
    look,
    isAnyUp,
    close() {
      isClosed = true;
      clearTimeout(timer);
      for (const { plane } of known.values()) plane.close();
    },
  };
}
