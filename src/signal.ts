import type { GatewayError } from './errors.ts';

/** The part of an AbortSignal that agents need. */
export interface Signal {
  readonly aborted: boolean;
  /** Set with `aborted`. */
  readonly reason: GatewayError | undefined;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/**
 * Tells those who work for a request that nobody waits for its answer any more.
 *
 * Not an AbortController: its signal, once it has had a listener, lives through the collections of the young
 * generation, and with it all that belongs to the request.
 */
export class Cancellation implements Signal {
  aborted = false;
  reason: GatewayError | undefined;
  #listeners: readonly (() => void)[] = [];

  /** Calls the listeners, once; later reasons are ignored. */
  abort(reason: GatewayError): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener();
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners = [...this.#listeners, listener];
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners = this.#listeners.filter(item => item !== listener);
  }
}
