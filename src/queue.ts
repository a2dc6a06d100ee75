import { now } from './clock.ts';
import { GatewayError } from './errors.ts';
import type { Exchange } from './gateway.ts';

/** Places for invocations, and those that wait for one, in the order in which they came. */
export interface Queue {
  /** Invocations that wait. */
  readonly depth: number;
  /**
   * Takes a place. Resolves when there is one, at once with nothing where it is free; the time that it waits is the
   * invocation's own.
   *
   * @throws {GatewayError} OVERLOADED when too many wait; rejected: QUEUE_TIMEOUT at its deadline, or the reason of its
   *   cancellation.
   */
  enter(exchange: Exchange): Promise<void> | undefined;
  /** An invocation that has entered is over, whether it came to a place or not. */
  leave(exchange: Exchange): void;
}

/**
 * @param places - invocations at a time; 0 is no limit.
 * @param limit - how many may wait.
 */
export function createQueue(places: number, limit: number): Queue {
  let taken = 0;
  /** What admits each, in the order in which they came. */
  const waiting = new Map<Exchange, () => void>();

  function wait(exchange: Exchange): Promise<void> {
    const { deadline, cancellation } = exchange;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        fail(new GatewayError('QUEUE_TIMEOUT', `waited for one of ${places} places until the deadline`));
      }, deadline - now());
      const onAbort = (): void => fail(cancellation.reason);
      function settle(): void {
        clearTimeout(timer);
        cancellation.removeEventListener('abort', onAbort);
      }
      function fail(reason: unknown): void {
        settle();
        waiting.delete(exchange);
        reject(reason);
      }
      cancellation.addEventListener('abort', onAbort);
      waiting.set(exchange, () => {
        settle();
        waiting.delete(exchange);
        take(exchange);
        resolve();
      });
    });
  }

  function take(exchange: Exchange): void {
    taken++;
    exchange.hasPlace = true;
  }

  return {
    get depth() {
      return waiting.size;
    },
    enter(exchange) {
      if (places === 0 || taken < places) {
        take(exchange);
        return undefined;
      }
      if (waiting.size < limit) return wait(exchange);
      const queued = limit === 0 ? '' : ` and ${limit} in the queue`;
      throw new GatewayError('OVERLOADED', `expected at most ${places} invocations in flight${queued}`);
    },
    leave(exchange) {
      if (!exchange.hasPlace) return;
      exchange.hasPlace = false;
      taken--;
      const [admit] = waiting.values();
      admit?.();
    },
  };
}
