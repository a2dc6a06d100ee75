import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Agent } from './agent.ts';
import type { Config } from './config.ts';
import type { Code, GatewayError } from './errors.ts';
import type { Log } from './log.ts';
import type { Cancellation } from './signal.ts';
import type { Table } from './table.ts';
import type { Target } from './target.ts';

/** What FC asks for with a request: one of its lifecycle hooks, an event invoke, or an HTTP trigger. */
export type Kind = 'initialize' | 'pre-freeze' | 'pre-stop' | 'event' | 'http';

/** Names the function or service that a request is for. @throws {GatewayError} ROUTE_NOT_FOUND. */
export type Router = (exchange: Exchange) => Target;

/** What every request meets: the settings, and the state of the process. */
export interface Gateway {
  readonly config: Config;
  readonly log: Log;
  /** Undefined until functions can be invoked. */
  agent: Agent | undefined;
  /** Resolves with `agent`. */
  readonly ready: Promise<Agent>;
  router: Router;
  /** True from SIGTERM or `/pre-stop` on: new invocations are refused. */
  draining: boolean;
  /** Invocations that were let in and have not been answered to the end. */
  readonly invocations: Table<Exchange>;
  /** Refuses new invocations, and resolves when those in flight are answered or `drainTimeout` has passed. */
  drain(): Promise<void>;
  /** Ends the process, with 0. */
  stop(): void;
}

/** One request and its response, and what the access line says of them. */
export interface Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly kind: Kind;
  /** In origin form, without FC 2.0's proxy prefix. */
  readonly url: string;
  /** FC's, else one of the same form. */
  readonly requestId: string;
  /** `now()` at arrival. */
  readonly startedAt: number;
  /** The moment of `now()` by which the function must have given its head. */
  readonly deadline: number;
  /** Fires with a GatewayError when the client has gone or the gateway gave up. */
  readonly cancellation: Cancellation;
  /** Its number among the invocations, once it is let in; 0 before. */
  invocation: number;
  /** What runs, once it is known: `NAME` of a function or `service:NAME`. */
  function: string;
  bytesIn: number;
  bytesOut: number;
  /** ms from arrival to the head; undefined before it. */
  firstByteMs: number | undefined;
  /** The failure, if it came to one. */
  error: GatewayError | undefined;
}

/** How an exchange ended, for the access line. */
export type Outcome = 'ok' | 'client gone' | `error ${Code}`;
