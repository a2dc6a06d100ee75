import { now } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import type { Signal } from '../signal.ts';

/** Those that wait for a plane to change. */
export interface Waiting {
  /**
   * Resolves with what `probe` gives, tried again whenever a plane has changed.
   *
   * @param deadline - a moment of `now()`.
   * @param what - is missing, for the client.
   * @throws {GatewayError} rejected: UNAVAILABLE at the deadline, the signal's reason, or what `close` was given.
   */
  until<T>(probe: () => T | undefined, deadline: number | undefined, what: () => string, signal?: Signal): Promise<T>;
  /** A plane has changed. */
  wake(): void;
  /** Fails all that wait, now and later. */
  close(error: GatewayError): void;
}

/** Makes a place to wait at. Each who waits looks for itself what it can do now. */
export function createWaiting(): Waiting {
  const waiting = new Set<() => void>();
  let closed: GatewayError | undefined;

  function wake(): void {
    for (const look of [...waiting]) look();
  }

  return {
    wake,

    until(probe, deadline, what, signal) {
      return new Promise((resolve, reject) => {
        const late = deadline === undefined ? undefined : setTimeout(onLate, Math.max(0, deadline - now()));
        function settle(): void {
          clearTimeout(late);
          waiting.delete(attempt);
          signal?.removeEventListener('abort', onAbort);
        }
        function fail(error: unknown): void {
          settle();
          reject(error);
        }
        function onLate(): void {
          fail(new GatewayError('UNAVAILABLE', what()));
        }
        function onAbort(): void {
          fail(signal?.reason);
        }
        function attempt(): void {
          if (closed !== undefined) {
            fail(closed);
            return;
          }
          const value = probe();
          if (value === undefined) return;
          settle();
          resolve(value);
        }
        waiting.add(attempt);
        signal?.addEventListener('abort', onAbort);
        attempt();
      });
    },

    close(error) {
      closed = error;
      wake();
    },
  };
}

/** While planes are looked for, it is that which keeps the process alive. */
export function pause(ms: number): Promise<void> {
  return new Promise(done => setTimeout(done, ms).unref());
}
