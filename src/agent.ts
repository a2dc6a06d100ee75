import type { Readable } from 'node:stream';
import type { RawHeaders } from './headers.ts';
import type { Profile } from './profile.ts';
import type { Signal } from './signal.ts';

/**
 * What runs functions. The gateway knows this interface alone; which agent stands behind it is decided
 * in `main.ts`. Its words are those of Noslate's SDK.
 */
export interface Agent {
  /**
   * Makes these the functions, services and environments, in place of all earlier ones. Resolves when they can be
   * invoked; workers may still be starting.
   */
  setProfile(profile: Profile): Promise<void>;

  /**
   * Resolves when every function has its `reservationCount` workers active.
   *
   * @param deadline - a moment of `now()`, less than 24.8 days ahead.
   * @throws {GatewayError} rejected: the reason why a worker cannot start; UNAVAILABLE, naming what is
   *   missing, when the deadline passes.
   */
  warm(deadline: number): Promise<void>;

  /**
   * Runs a function once and resolves when its status and headers are known.
   *
   * `body` is read as fast as the function takes it. It is never destroyed: to destroy a request is to
   * destroy the socket that the answer needs.
   *
   * @throws {GatewayError} rejected: FUNCTION_NOT_FOUND, RATE_LIMITED, QUEUE_TIMEOUT, NO_WORKER, CODE_UNAVAILABLE,
   *   INITIALIZER_FAILED, INITIALIZER_TIMEOUT, FUNCTION_FAILED, WORKER_EXITED, TIMEOUT, UNAVAILABLE; or
   *   the reason of `metadata.signal`. After the head, the same errors destroy the response's body.
   */
  invoke(name: string, body: Readable, metadata: Metadata): Promise<TriggerResponse>;

  /**
   * The same for the function that a service picks, anew for each call.
   *
   * @throws {GatewayError} rejected: SERVICE_NOT_FOUND, and what `invoke` rejects with.
   */
  invokeService(name: string, body: Readable, metadata: Metadata): Promise<TriggerResponse>;

  /**
   * Says why calls would wait or fail just now, each in a sentence for an operator; nothing when they would not. Resolves
   * within a second, whatever hangs.
   */
  faults(): Promise<readonly string[]>;

  /** What an operator may know of the planes; absent where the agent has none to do with itself. */
  stats?(): AgentStats;

  /** Ends every worker and connection. Calls in flight fail. */
  close(): Promise<void>;
}

/** Counts since the start, and what is so just now. */
export interface AgentStats {
  /** Calls that were made again. */
  readonly retries: number;
  readonly planes: readonly PlaneStats[];
}

/** A plane of Noslate's, as it is seen from here. */
export interface PlaneStats {
  /** `dp-0`, `cp-0`. */
  readonly name: string;
  readonly isUp: boolean;
  /** How often it has come up: all but the first are reconnections. */
  readonly ups: number;
  readonly connections: number;
  /** Calls and questions that are not over. */
  readonly streams: number;
  /** What waits here for readers that stand still. */
  readonly heldBytes: number;
}

/** What a function is told about a request, and how long it has. */
export interface Metadata {
  /** As the client sent it: path and query. */
  url: string;
  method: string;
  headers: RawHeaders;
  /** Trace context: name, value, name, value, … */
  baggage: RawHeaders;
  requestId: string;
  /** A moment of `now()`, less than 24.8 days ahead. Bounds the wait for a worker and for the head, not the body after it. */
  deadline: number;
  /** Fires when the caller has gone or given up before the head. Its reason is a GatewayError. */
  signal: Signal;
}

/** A function's answer, from the moment its head is known. */
export interface TriggerResponse {
  /** As the function gave it, unchecked. */
  status: number;
  /** As the function gave them, unchecked. */
  headers: RawHeaders;
  /** Must be read or destroyed; destroying it cancels the call. Fails with a GatewayError. */
  body: Readable;
  /** Who gave it, where that can be known. */
  worker?: string;
}
