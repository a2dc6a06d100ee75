import type { PlaneStats } from '../agent.ts';
import { now } from '../clock.ts';
import { GrpcError } from '../grpc/status.ts';
import * as Status from '../grpc/status-code.ts';
import { type Connection, openConnection } from '../h2/connection.ts';
import type { H2Error } from '../h2/error.ts';

/**
 * Connections to one plane at most, besides those that only finish what they have. Stalled responses make a
 * data plane refuse new streams on their connection (10 MB of session memory), not on others.
 */
const MAX_CONNECTIONS = 16;
/** Held by readers that stand still: above this, new calls go to another connection. */
const STALLED_BYTES = 256 * 1024;
/** Held bytes that weigh as much as a call in flight. */
const BYTES_PER_CALL = 16 * 1024;

/** What hears of a plane. */
export interface PlaneEvents {
  /** It can be called, after it could not. */
  onUp(): void;
  /** Its last connection is gone. */
  onDown(error: H2Error): void;
  /** A connection may take a call again. */
  onCapacity(): void;
}

/** One plane, at one socket: `connecting → up → down`, and up again. */
export interface Plane {
  /** `dp-0`, `cp-0`. */
  readonly name: string;
  readonly kind: 'dp' | 'cp';
  readonly isUp: boolean;
  /** `now()` when it last came up. */
  readonly upSince: number;
  /** Calls in flight, and what stalled ones weigh. */
  readonly load: number;
  /** What an operator is told. */
  readonly stats: PlaneStats;
  /** Makes a connection when there is none that works or is on its way. */
  connect(): void;
  /** Leaves its connections to the calls they have: another process listens at the socket now. */
  replace(): void;
  /** The connection for the next call; undefined when all are full, silent, or still being made. */
  pick(): Connection | undefined;
  close(): void;
}

/** Makes a plane that has no connection yet. It makes one when told to, and more when those it has are stalled. */
export function createPlane(name: string, kind: 'dp' | 'cp', path: string, events: PlaneEvents): Plane {
  const connections = new Set<Connection>();
  let isUp = false;
  let upSince = 0;
  let ups = 0;

  const usable = (): Connection[] => [...connections].filter(({ state, isSuspect }) => state === 'open' && !isSuspect);
  const isConnecting = (): boolean => [...connections].some(({ state }) => state === 'connecting');

  function open(): void {
    if (isConnecting()) return;
    const connection = openConnection(path, {
      onOpen() {
        if (!isUp) {
          isUp = true;
          upSince = now();
          ups++;
          events.onUp();
        }
        events.onCapacity();
      },
      onDraining() {
        if (isUp && usable().length === 0) open();
      },
      onCapacity: events.onCapacity,
      onClose(error) {
        connections.delete(connection);
        // one that was drained has its successor on the way, to the same process
        if (!isUp || connections.size > 0) return;
        isUp = false;
        events.onDown(error);
      },
    });
    connections.add(connection);
  }

  return {
    name,
    kind,
    get isUp() {
      return isUp;
    },
    get upSince() {
      return upSince;
    },
    get load() {
      let load = 0;
      for (const connection of connections) load += loadOf(connection);
      return load;
    },
    get stats() {
      let streams = 0;
      let held = 0;
      for (const connection of connections) {
        streams += connection.streams;
        held += connection.held;
      }
      return { name, isUp, ups, connections: connections.size, streams, heldBytes: held };
    },

    connect() {
      if (usable().length === 0) open();
    },

    replace() {
      for (const connection of [...connections]) connection.drain();
      isUp = false;
      open();
    },

    pick() {
      let best: Connection | undefined;
      for (const connection of connections) {
        if (connection.isSuspect || !connection.canRequest()) continue;
        if (best === undefined || loadOf(connection) < loadOf(best)) best = connection;
      }
      // the next call will find another one
      if (isUp && (best === undefined || best.held >= STALLED_BYTES) && usable().length < MAX_CONNECTIONS) open();
      return best;
    },

    close() {
      isUp = false;
      for (const connection of [...connections]) connection.close();
    },
  };
}

/** A connection to ask a plane by. @throws {GrpcError} UNAVAILABLE when it cannot be asked just now. */
export function connectionOf(plane: Plane): Connection {
  const connection = plane.pick();
  if (connection === undefined) throw new GrpcError(Status.UNAVAILABLE, `${plane.name} takes no call`, true);
  return connection;
}

function loadOf({ streams, held }: Connection): number {
  return streams + held / BYTES_PER_CALL;
}
