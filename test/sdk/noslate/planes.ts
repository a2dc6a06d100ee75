import type { TriggerResponse } from '../../../src/agent.ts';
import { createLog } from '../../../src/log.ts';
import type { FunctionProfile, KeyValuePair, ServiceProfile } from '../../../src/profile.ts';
import { planeError } from '../../planes/errors.ts';
import { createRuntime, type Runtime, type RuntimeRequest } from '../../planes/runtime.ts';
import type { Trip } from './trip.ts';

export type Kind = 'data' | 'control';

/** HTTP/2's, of a stream. */
const WINDOW = 65_535;

/** Answers in place of a function. */
export type Handler = (request: RuntimeRequest) => Promise<TriggerResponse>;

/** One data plane and one control plane, behind the SDK. They are up from the start, as for a server that is spawned. */
export class Planes {
  /** How long the SDK's `start` waits. */
  firstConnectionTimeout = 10_000;
  /** What came to the control plane, in order. */
  received: string[] = [];
  /** Calls that gRPC holds. */
  readonly trips = new Set<Trip>();
  /** Scripted functions and services. */
  readonly handlers = new Map<string, Handler>();
  /** How long the control plane takes to set a profile: it answers on `resolve`. */
  gate: Promise<void> = Promise.resolve();
  /** Fails the next call of the control plane. */
  failure: Error | undefined;
  /** Fails every call of the control plane that sets environments. */
  refusesEnvironments = false;
  /** The data plane has not got its profiles back. */
  isForgetful = false;
  /** Calls that found it so. */
  refused = 0;
  /** Most bytes that were written to gRPC and not yet taken by the data plane. */
  mostWritten = 0;
  readonly #clients = new Set<(kind: Kind) => void>();
  readonly #up = new Set<Kind>(['data', 'control']);
  #functions: readonly FunctionProfile[] = [];
  #environments: readonly KeyValuePair[] = [];
  #runtime: Runtime | undefined;
  #setting = 0;
  #waiting: (() => void)[] = [];
  #isAwake = false;
  readonly #timers = new Set<NodeJS.Timeout>();

  /** Tells a client of each plane that is up or comes up. Gives the way to stop. */
  attach(onReady: (kind: Kind) => void): () => void {
    this.#clients.add(onReady);
    setImmediate(() => {
      for (const kind of this.#up) if (this.#clients.has(onReady)) onReady(kind);
    });
    return () => this.#clients.delete(onReady);
  }

  /** Resolves when a plane is there; rejects when it does not come in time. */
  async first(kind: Kind): Promise<void> {
    const since = Date.now();
    // `attach` comes first
    await new Promise(setImmediate);
    while (!this.isUp(kind)) {
      if (Date.now() - since >= this.firstConnectionTimeout) {
        throw new Error('Timeout on waiting first plane client ready');
      }
      await new Promise<void>(done => this.#timers.add(setTimeout(done, 5)));
    }
  }

  /** Clients that were not closed. */
  get clients(): number {
    return this.#clients.size;
  }

  isUp(kind: Kind): boolean {
    return this.#up.has(kind);
  }

  /** Ends a plane. Calls in flight break off with the data plane. */
  stop(kind: Kind): void {
    this.#up.delete(kind);
    if (kind === 'control') return;
    for (const trip of this.trips) trip.break(14, 'read ECONNRESET');
  }

  start(kind: Kind): void {
    this.#up.add(kind);
    for (const onReady of [...this.#clients]) onReady(kind);
  }

  async setFunctionProfile(profiles: readonly FunctionProfile[]): Promise<void> {
    const turn = ++this.#setting;
    this.received.push(`functions ${profiles.map(({ name }) => name)}`);
    this.#fail();
    await this.gate;
    // a call that another has overtaken is forgotten
    if (turn !== this.#setting) await new Promise(() => {});
    this.#functions = profiles;
    await this.runtime.setFunctionProfile(profiles, this.#environments);
  }

  async setPlatformEnvironmentVariables(environments: readonly KeyValuePair[]): Promise<void> {
    this.received.push(`environments ${environments.map(({ key, value }) => `${key}=${value}`)}`);
    this.#fail();
    // on its way an empty list becomes none at all
    if (environments.length === 0) throw toRpcError(2, "Cannot read properties of undefined (reading 'reduce')");
    if (this.refusesEnvironments) throw toRpcError(2, 'told to refuse environments');
    this.#environments = environments;
  }

  setServiceProfiles(profiles: readonly ServiceProfile[]): void {
    this.received.push(`services ${profiles.map(({ name }) => name)}`);
    this.runtime.setServiceProfiles(profiles as Parameters<Runtime['setServiceProfiles']>[0]);
  }

  /** Of functions without a worker it knows nothing. */
  getWorkerStatsSnapshot(): object {
    const brokers = this.#functions.flatMap(({ name }) => {
      const workers = this.runtime.workers(name);
      const activeWorkerCount = workers.filter(({ isActive }) => isActive).length;
      const initiatingWorkerCount = workers.length - activeWorkerCount;
      const inspected = { name, inspector: true, activeWorkerCount: 1, initiatingWorkerCount: 0 };
      if (workers.length === 0) return [inspected];
      return [{ name, inspector: false, activeWorkerCount, initiatingWorkerCount }, inspected];
    });
    return { brokers };
  }

  /** As long as a call to the data plane and back. */
  roundTrip(): Promise<void> {
    return new Promise(done => {
      this.#waiting.push(done);
      this.wake();
    });
  }

  /** Lets the data plane take what was written, a window of each call at a time, slower than our event loop turns. */
  async wake(): Promise<void> {
    if (this.#isAwake) return;
    this.#isAwake = true;
    while (this.#waiting.length > 0 || [...this.trips].some(({ isPending }) => isPending)) {
      const waiting = this.#waiting.splice(0);
      for (let turn = 0; turn < 4; turn++) await new Promise(setImmediate);
      for (const trip of this.trips) trip.take(WINDOW);
      for (const done of waiting) done();
    }
    this.#isAwake = false;
  }

  async invoke(method: 'invoke' | 'invokeService', name: string, request: RuntimeRequest): Promise<TriggerResponse> {
    if (this.isForgetful) {
      this.refused++;
      throw planeError(`No function named ${name} registered in this node.`, 5);
    }
    const handler = this.handlers.get(name);
    return handler === undefined ? this.runtime[method](name, request) : handler(request);
  }

  get runtime(): Runtime {
    this.#runtime ??= createRuntime(createLog('json'));
    return this.#runtime;
  }

  /** Ends all that is left of a test, and is as new. */
  async reset(): Promise<void> {
    for (const trip of this.trips) trip.cancel();
    for (const timer of this.#timers) clearTimeout(timer);
    const runtime = this.#runtime;
    this.#runtime = undefined;
    this.#clients.clear();
    this.#functions = [];
    this.#environments = [];
    this.#up.add('data').add('control');
    this.handlers.clear();
    Object.assign(this, {
      received: [],
      mostWritten: 0,
      refused: 0,
      isForgetful: false,
      failure: undefined,
      refusesEnvironments: false,
      gate: Promise.resolve(),
    });
    this.firstConnectionTimeout = 10_000;
    await runtime?.close();
  }

  #fail(): void {
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
  }
}

/** gRPC's own error for a status that a plane has answered with. */
export function toRpcError(code: number, details: string): Error {
  return Object.assign(new Error(`${code} STATUS: ${details}`), { code, details, metadata: {} });
}
