import { setTimeout as delay } from 'node:timers/promises';
import { now } from '../clock.ts';
import { settable } from '../environment.ts';
import { GatewayError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { NoslateError } from '../noslate/errors.ts';
import type { KeyValuePair, Profile } from '../profile.ts';
import type { NoslatedClient } from './client.ts';

/** Brings profiles to the planes, whenever these come and come back. */
export interface Profiles {
  /**
   * Resolves when the planes have taken the profile, however long they stay away.
   *
   * @throws {GatewayError} rejected: INTERNAL when the SDK or a plane refuses the profile.
   */
  set(profile: Profile): Promise<void>;
  /** A data plane came back a moment ago, and may not have heard of its functions yet. */
  isReturning(): boolean;
  /** Ends what `set` waits for, which then rejects. */
  close(): void;
}

/** A data plane that restarts was seen without its functions for up to 3.6 s after the SDK's reconnect. */
const RETURN_MS = 5000;
const RETRY_MS = 100;

/** An empty list, in JSON. */
const NONE = '[]';

/** Starts the client, and keeps the planes up to date. */
export function createProfiles(client: NoslatedClient, log: Log): Profiles {
  const closing = new AbortController();
  const connected = connect(client, log);
  /** As the planes have them, in JSON. A control plane that has just come has no environments. */
  const sent = { environments: NONE, functions: '', services: '' };
  /** As they should be. */
  let environments: readonly KeyValuePair[] = [];
  let isSet = false;
  let returnedAt = Number.NEGATIVE_INFINITY;
  let last: Promise<unknown> = connected;

  client.on('newDataPlaneClientReady', () => {
    if (isSet) returnedAt = now();
  });
  client.on('newControlPlaneClientReady', () => {
    // the SDK does this for functions alone. At once: it sends those when we return, and workers that start
    // then must find their environment
    if (closing.signal.aborted) return;
    sent.environments = NONE;
    sendEnvironments().then(retryEnvironments).catch(onLost);
  });

  async function send(profile: Profile): Promise<void> {
    for (;;) {
      // without a control plane the SDK would resolve, too
      while ((await client.checkControlPlaneHealth()).health !== true) await wait();
      try {
        await sendChanges(profile);
        isSet = true;
        retryEnvironments().catch(onLost);
        return;
      } catch (error) {
        if ((error as NoslateError).details === undefined) {
          throw new GatewayError('INTERNAL', 'the planes refused the profile', error);
        }
        log.warn('profile not sent, trying again', { error });
      }
      await wait();
    }
  }
  /** What the planes have already is not sent again: it would cost seconds on a control plane at work. */
  async function sendChanges(profile: Profile): Promise<void> {
    environments = profile.environments;
    // what the planes have against them must not keep the functions from being set
    await sendEnvironments();
    await change('functions', profile.functions, value => client.setFunctionProfile(value));
    await change('services', profile.services, value => client.setServiceProfile(value));
  }
  async function change<T>(what: keyof typeof sent, value: T, call: (value: T) => Promise<void>): Promise<void> {
    const text = JSON.stringify(value);
    if (sent[what] === text) return;
    sent[what] = '';
    await call(value);
    sent[what] = text;
  }
  /** @throws what the SDK has against them, not what a plane has. */
  async function sendEnvironments(): Promise<void> {
    try {
      await change('environments', environments, value => client.setPlatformEnvironmentVariables(settable(value)));
    } catch (error) {
      if ((error as NoslateError).details === undefined) throw error;
      log.warn('environments not sent, trying again', { error });
    }
  }
  /** Until they are sent, or others are in their place. */
  async function retryEnvironments(): Promise<void> {
    for (const mine = environments; sent.environments === '' && environments === mine; ) {
      await wait();
      await sendEnvironments();
    }
  }
  function onLost(error: unknown): void {
    if (!closing.signal.aborted) log.warn('environments not sent', { error });
  }
  const wait = (): Promise<void> => delay(RETRY_MS, undefined, { signal: closing.signal });

  return {
    set(profile) {
      // one after the other: a control plane never answers a call that another has overtaken
      const done = last.then(() => send(profile));
      last = done.catch(() => {});
      return done;
    },
    isReturning: () => now() - returnedAt < RETURN_MS,
    close: () => closing.abort(),
  };
}

/** Resolves when a plane of each kind has been connected, which may be long after the SDK's `start` gave up. */
function connect(client: NoslatedClient, log: Log): Promise<void> {
  return new Promise(resolve => {
    const missing = new Set(['newDataPlaneClientReady', 'newControlPlaneClientReady'] as const);
    for (const event of missing) {
      client.on(event, () => {
        missing.delete(event);
        if (missing.size === 0) resolve();
      });
    }
    // unhandled, this rejection would end the process
    client.start().then(resolve, error => log.warn('the planes are not there yet, still waiting', { error }));
  });
}
