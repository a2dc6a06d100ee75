import type { Readable } from 'node:stream';
import type { Agent, Metadata, TriggerResponse } from '../agent.ts';
import { GatewayError } from '../errors.ts';
import type { Log } from '../log.ts';
import { untilWarm } from '../noslate/warm.ts';
import { EMPTY_PROFILE, type Profile } from '../profile.ts';
import { type Call, startCall } from './call.ts';
import { loadClient } from './client.ts';
import { toSdkMetadata } from './metadata.ts';
import { createProfiles } from './profiles.ts';

/**
 * Runs functions on Noslate's planes through Noslate's own SDK: to compare with, and to fall back on. What
 * it cannot do as the native agent does: hold back a response that is read slowly, and most of an upload.
 *
 * @param noslatePath - Noslate's folder, `NOSLATE_PATH`.
 * @throws {ConfigError} when the SDK cannot be loaded from there.
 * @see Noslate contract §3, §4, §11: the SDK's habits
 */
export function createSdkAgent(noslatePath: string, log: Log): Agent {
  const client = loadClient(noslatePath);
  const profiles = createProfiles(client, log);
  const calls = new Set<Call>();
  const warmings = new Set<Promise<void>>();
  const stopping = new GatewayError('DRAINING', 'the instance is stopping');
  let onClose: () => void = () => {};
  const closed = new Promise<never>((_, reject) => {
    onClose = () => reject(stopping);
  });
  closed.catch(() => {});
  let isClosed = false;
  let profile: Profile = EMPTY_PROFILE;

  function start(
    method: 'invoke' | 'invokeService',
    target: string,
    isRegistered: boolean,
    name: string,
    body: Readable,
    metadata: Metadata,
  ): Promise<TriggerResponse> {
    if (isClosed) return Promise.reject(stopping);
    if (metadata.signal.aborted) return Promise.reject(metadata.signal.reason);
    const line = {
      send: (input: Readable) => client[method](name, input, toSdkMetadata(metadata)),
      roundTrip: () => client.checkDataPlaneHealth(),
      isReturning: () => isRegistered && profiles.isReturning(),
    };
    const call = startCall(target, line, body, metadata, () => calls.delete(call));
    calls.add(call);
    return call.response;
  }

  return {
    async setProfile(next) {
      await Promise.race([profiles.set(next), closed]);
      profile = next;
    },

    async warm(deadline) {
      // `closed` first: it must win against a snapshot that fails, too
      const snapshot = async () => (await Promise.race([closed, client.getWorkerStatsSnapshot()])).brokers ?? [];
      const warming = untilWarm(() => profile.functions, snapshot, deadline);
      warmings.add(warming);
      await warming.finally(() => warmings.delete(warming));
    },

    async invoke(name, body, metadata) {
      const isRegistered = profile.functions.some(item => item.name === name);
      return start('invoke', `function ${JSON.stringify(name)}`, isRegistered, name, body, metadata);
    },

    async invokeService(name, body, metadata) {
      const isRegistered = profile.services.some(item => item.name === name);
      return start('invokeService', `service ${JSON.stringify(name)}`, isRegistered, name, body, metadata);
    },

    async close() {
      if (isClosed) return;
      isClosed = true;
      onClose();
      profiles.close();
      for (const call of calls) call.fail(stopping);
      await Promise.allSettled([client.close(), ...warmings]);
    },
  };
}
