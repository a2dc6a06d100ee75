import type { Readable } from 'node:stream';
import type { Agent, Metadata, TriggerResponse } from '../agent.ts';
import { GatewayError } from '../errors.ts';
import type { Log } from '../log.ts';
import { createUrls, type Urls } from '../noslate/urls.ts';
import { untilWarm } from '../noslate/warm.ts';
import { EMPTY_PROFILE, type Profile } from '../profile.ts';
import { Table } from '../table.ts';
import { describeTarget, type Target } from '../target.ts';
import { type Call, startCall } from './call.ts';
import { loadClient } from './client.ts';
import { toSdkMetadata } from './metadata.ts';
import { createProfiles } from './profiles.ts';

/** Longest wait for a data plane to say how it is, for who must answer within a second himself, ms. */
const FAULT_TIMEOUT_MS = 900;

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
  const calls = new Table<Call>();
  const warmings = new Set<Promise<void>>();
  const stopping = new GatewayError('DRAINING', 'the instance is stopping');
  let onClose: () => void = () => {};
  const closed = new Promise<never>((_, reject) => {
    onClose = () => reject(stopping);
  });
  closed.catch(() => {});
  let isClosed = false;
  let profile: Profile = EMPTY_PROFILE;
  let urls: Urls = createUrls(profile);

  function start(
    method: 'invoke' | 'invokeService',
    target: Target,
    registered: readonly { readonly name: string }[],
    body: Readable,
    metadata: Metadata,
  ): Promise<TriggerResponse> {
    if (isClosed) return Promise.reject(stopping);
    if (metadata.signal.aborted) return Promise.reject(metadata.signal.reason);
    const { name } = target;
    const isRegistered = registered.some(item => item.name === name);
    const request = toSdkMetadata({ ...metadata, url: urls(target, metadata) });
    const line = {
      send: (input: Readable) => client[method](name, input, request),
      roundTrip: () => client.checkDataPlaneHealth(),
      isReturning: () => isRegistered && profiles.isReturning(),
    };
    const call = startCall(describeTarget(target), line, body, metadata, () => calls.delete(id));
    const id = calls.add(call);
    return call.response;
  }

  return {
    async setProfile(next) {
      await Promise.race([profiles.set(next), closed]);
      profile = next;
      urls = createUrls(next);
    },

    async warm(deadline) {
      // `closed` first: it must win against a snapshot that fails, too
      const snapshot = async () => (await Promise.race([closed, client.getWorkerStatsSnapshot()])).brokers ?? [];
      const warming = untilWarm(() => profile, snapshot, deadline);
      warmings.add(warming);
      await warming.finally(() => warmings.delete(warming));
    },

    async faults() {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<string[]>(done => {
        timer = setTimeout(done, FAULT_TIMEOUT_MS, ['the data plane does not answer']);
      });
      const asked = client.checkDataPlaneHealth().then(
        ({ health }) => (health === true ? [] : ['the data plane is not healthy']),
        ({ message }: Error) => [`the data plane: ${message}`],
      );
      return Promise.race([asked, late]).finally(() => clearTimeout(timer));
    },

    async invoke(name, body, metadata) {
      return start('invoke', { type: 'function', name }, profile.functions, body, metadata);
    },

    async invokeService(name, body, metadata) {
      return start('invokeService', { type: 'service', name }, profile.services, body, metadata);
    },

    async close() {
      if (isClosed) return;
      isClosed = true;
      onClose();
      profiles.close();
      for (const call of calls.values()) call.fail(stopping);
      await Promise.allSettled([client.close(), ...warmings]);
    },
  };
}
