import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { ConfigError } from '../errors.ts';
import type { BrokerStats } from '../noslate/warm.ts';
import type { FunctionProfile, KeyValuePair, ServiceProfile } from '../profile.ts';

/** What we use of Noslate's SDK, whose package brings no types. @see noslated src/sdk/client.ts */
export interface NoslatedClient {
  /** Resolves when one plane of each kind is connected; rejects after 10 s, and goes on trying. */
  start(): Promise<void>;
  close(): Promise<void>;
  /** Resolves at the head. An `error` of `input` is the only way to cancel before it. */
  invoke(name: string, input: Readable, metadata: SdkMetadata): Promise<SdkResponse>;
  invokeService(name: string, input: Readable, metadata: SdkMetadata): Promise<SdkResponse>;
  /** Goes to one control plane; without one it resolves all the same, like the next. */
  setFunctionProfile(profiles: readonly FunctionProfile[]): Promise<void>;
  setPlatformEnvironmentVariables(environments: readonly KeyValuePair[]): Promise<void>;
  /** Goes to every data plane, now and when one comes back. */
  setServiceProfile(profiles: readonly ServiceProfile[]): Promise<void>;
  /** These two never reject. */
  checkControlPlaneHealth(): Promise<{ readonly health?: boolean }>;
  checkDataPlaneHealth(): Promise<{ readonly health?: boolean }>;
  getWorkerStatsSnapshot(): Promise<{ readonly brokers?: readonly BrokerStats[] }>;
  /** Emitted after each connect, once `start` was called. Nothing tells of a plane that is lost. */
  on(event: 'newDataPlaneClientReady' | 'newControlPlaneClientReady', listener: () => void): unknown;
}

/** `metadata` of the SDK's invoke. */
export interface SdkMetadata {
  readonly url: string;
  readonly method: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly baggage: readonly (readonly [string, string])[];
  readonly requestId: string;
  readonly deadline: SdkDeadline;
}

/** Epoch ms; read as a number it is one, added to another it is one too, but a later one. */
export interface SdkDeadline {
  [Symbol.toPrimitive](hint: 'default' | 'number' | 'string'): number;
}

/** The SDK's TriggerResponse: it cannot be slowed down, and its `error` must have a listener. */
export interface SdkResponse extends Readable {
  readonly status: number;
  readonly metadata: { readonly headers: readonly (readonly [string, string])[] };
}

/**
 * Loads Noslate's SDK, about 0.3 s and 35 MB, and makes a client. It connects by itself from the next
 * turn of the loop on: without a `start` before that, planes that stay away would end the process.
 *
 * @throws {ConfigError} when the package cannot be loaded or used.
 */
export function loadClient(noslatePath: string): NoslatedClient {
  try {
    const { NoslatedClient } = createRequire(__filename)(resolve(noslatePath));
    if (typeof NoslatedClient !== 'function') throw new Error('it exports no NoslatedClient');
    return new NoslatedClient();
  } catch (error) {
    // of a module that is missing, the lines below tell who asked for it: this file
    const reason = String(error instanceof Error ? error.message : error).split('\n', 1)[0];
    const expected = "expected the folder of Noslate's SDK, a package that exports NoslatedClient";
    throw new ConfigError([`NOSLATE_PATH: ${expected}, got ${JSON.stringify(noslatePath)}: ${reason}`]);
  }
}
