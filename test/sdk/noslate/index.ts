// A stand-in for Noslate's SDK, with its habits good and bad; built into a package that NOSLATE_PATH can name.
import { EventEmitter } from 'node:events';
import { Readable } from 'node:stream';
import type { FunctionProfile, KeyValuePair, ServiceProfile } from '../../../src/profile.ts';
import { type Kind, Planes } from './planes.ts';
import { type TriggerResponse, Trip } from './trip.ts';

export type { Handler, Kind, Planes } from './planes.ts';

/** The planes that clients connect to, in the hands of a test. */
export const planes = new Planes();

export const CanonicalCode = {
  OK: 0,
  INTERNAL_ERROR: 1,
  TIMEOUT: 2,
  NOT_IMPLEMENTED: 3,
  CONNECTION_RESET: 4,
  CLIENT_ERROR: 5,
  CANCELLED: 6,
};

interface MetadataInit {
  url?: string;
  method?: string;
  headers?: [string, string][];
  baggage?: [string, string][];
  timeout?: number;
  deadline?: number;
  requestId?: string;
}

/** @see Noslate contract §3, §4 */
export class NoslatedClient extends EventEmitter {
  readonly #first: Promise<unknown>;
  readonly #disconnect: () => void;
  #isStarted = false;
  #functions: readonly FunctionProfile[] | undefined;
  #services: readonly ServiceProfile[] | undefined;

  constructor() {
    super();
    this.#disconnect = planes.attach(kind => this.#onReady(kind));
    // nobody may ever ask for it, and then it is an unhandled rejection
    this.#first = Promise.all([planes.first('data'), planes.first('control')]);
  }

  async start(): Promise<void> {
    this.#isStarted = true;
    await this.#first;
  }

  async close(): Promise<void> {
    this.#disconnect();
  }

  invoke(name: string, data: Readable | Uint8Array, metadata?: MetadataInit): Promise<TriggerResponse> {
    return this.#invoke('invoke', name, data, metadata);
  }

  invokeService(name: string, data: Readable | Uint8Array, metadata?: MetadataInit): Promise<TriggerResponse> {
    return this.#invoke('invokeService', name, data, metadata);
  }

  async setFunctionProfile(profiles: readonly FunctionProfile[]): Promise<void> {
    for (const { runtime } of profiles) {
      if (runtime === 'nodejs' || runtime === 'aworker') continue;
      throw Object.assign(new Error('is not exactly one from <#/nodejs>,<#/aworker>'), { name: 'ValidationError' });
    }
    if (planes.isUp('control')) await planes.setFunctionProfile(profiles);
    this.#functions = profiles;
  }

  async setPlatformEnvironmentVariables(environments: readonly KeyValuePair[]): Promise<void> {
    if (planes.isUp('control')) await planes.setPlatformEnvironmentVariables(environments);
  }

  async setServiceProfile(profiles: readonly ServiceProfile[]): Promise<void> {
    if (planes.isUp('data')) planes.setServiceProfiles(profiles);
    this.#services = profiles;
  }

  async checkControlPlaneHealth(): Promise<object> {
    return { name: 'ControlPlane', health: planes.isUp('control'), reason: '' };
  }

  async checkDataPlaneHealth(): Promise<object> {
    await planes.roundTrip();
    return { name: 'DataPlane', health: planes.isUp('data'), reason: '' };
  }

  async getWorkerStatsSnapshot(): Promise<object> {
    if (!planes.isUp('control'))
      throw new TypeError("Cannot read properties of null (reading 'getWorkerStatsSnapshot')");
    return planes.getWorkerStatsSnapshot();
  }

  #onReady(kind: Kind): void {
    if (kind === 'data') {
      if (this.#isStarted) this.emit('newDataPlaneClientReady', {});
      if (this.#services !== undefined) planes.setServiceProfiles(this.#services);
    } else {
      if (this.#isStarted) this.emit('newControlPlaneClientReady', {});
      if (this.#functions !== undefined) planes.setFunctionProfile(this.#functions).catch(() => {});
    }
  }

  async #invoke(
    method: 'invoke' | 'invokeService',
    name: string,
    data: Readable | Uint8Array,
    metadata: MetadataInit = {},
  ): Promise<TriggerResponse> {
    if (!planes.isUp('data')) throw new Error('No activated data plane.');
    const timeout = metadata.timeout ?? 10_000;
    const trip = new Trip(planes, method, name, (metadata.deadline ?? Date.now() + timeout) + 1000, {
      url: metadata.url ?? '',
      method: metadata.method ?? 'GET',
      headers: toFlat(metadata.headers ?? []),
      baggage: toFlat(metadata.baggage ?? []),
      requestId: metadata.requestId ?? 'unknown',
      deadline: Number(metadata.deadline ?? Date.now() + timeout),
    });
    if (data instanceof Readable) {
      data.on('data', (chunk: Buffer) => trip.write(chunk));
      data.on('end', () => trip.end());
      data.on('error', () => trip.cancel());
    } else {
      // a string is no Uint8Array: it is as if there were none
      if (data instanceof Uint8Array) trip.write(Buffer.from(data));
      trip.end();
    }
    return trip.head;
  }
}

function toFlat(pairs: readonly (readonly [string, string])[]): string[] {
  return pairs.flatMap(pair => {
    if (!Array.isArray(pair) || pair.length !== 2) throw new TypeError('Expect a key value pair');
    return [pair[0], pair[1]];
  });
}
