import type { Readable } from 'node:stream';
import type { Agent, Metadata, TriggerResponse } from '../agent.ts';
import { now } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { FunctionProfile, ServiceProfile } from '../profile.ts';
import { pickFunction } from '../service.ts';
import { type CodeWatch, watchCode } from './code.ts';
import { createPool, type Pool } from './pool.ts';
import type { ThreadSpec } from './thread.ts';

/** A function that is being served. */
interface Served {
  /** What it was made from, to tell whether it has changed. */
  fingerprint: string;
  pool: Pool;
  code: CodeWatch;
}

/**
 * Runs functions in worker threads of this process: for development, tests and demonstrations, with what
 * a developer would notice of Noslate. It is no sandbox. A function's workers are replaced when code that they
 * have loaded changes.
 *
 * @param workerFile - script of the worker threads; it must call `runWorker` when it is not on the main thread.
 */
export function createLocalAgent(workerFile: string, log: Log): Agent {
  const functions = new Map<string, Served>();
  let services = new Map<string, ServiceProfile>();

  function serve(profile: FunctionProfile, spec: ThreadSpec, fingerprint: string): void {
    const { name } = profile;
    const ignored = notApplied(profile);
    if (ignored.length > 0)
      log.warn(`function ${JSON.stringify(name)}: the local agent does not apply ${ignored.join(', ')}`);

    const known = functions.get(name);
    known?.code.close();
    known?.pool.renew(spec);
    const code = watchCode(profile, () => {
      log.info('code changed', { function: name });
      pool.renew(spec);
    });
    const pool = known?.pool ?? createPool(spec, log, files => functions.get(name)?.code.loaded(files));
    functions.set(name, { fingerprint, pool, code });
  }

  async function invoke(name: string, body: Readable, metadata: Metadata): Promise<TriggerResponse> {
    const served = functions.get(name);
    if (served === undefined) throw new GatewayError('FUNCTION_NOT_FOUND', `no function named ${JSON.stringify(name)}`);
    // node:http announces a request before it has read on: a small body is there one turn later, and
    // travels with the head
    await undefined;
    return served.pool.invoke(body, metadata);
  }

  return {
    async setProfile(profile) {
      const { environments } = profile;
      services = new Map(profile.services.map(item => [item.name, item]));
      const kept = new Set<string>();
      for (const item of profile.functions) {
        kept.add(item.name);
        const fingerprint = JSON.stringify([item, environments]);
        if (functions.get(item.name)?.fingerprint === fingerprint) continue;
        serve(item, { workerFile, profile: item, environments }, fingerprint);
      }
      for (const [name, { pool, code }] of functions) {
        if (kept.has(name)) continue;
        code.close();
        pool.remove();
        functions.delete(name);
      }
    },

    async faults() {
      return [...functions.values()].flatMap(({ pool }) => pool.missing() ?? []);
    },

    async warm(deadline) {
      const pools = [...functions.values()].map(({ pool }) => pool);
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
          const missing = pools.flatMap(pool => pool.missing() ?? []);
          reject(new GatewayError('UNAVAILABLE', missing.join('; ')));
        }, deadline - now());
      });
      try {
        await Promise.race([Promise.all(pools.map(pool => pool.warm())), late]);
      } finally {
        clearTimeout(timer);
      }
    },

    invoke,

    async invokeService(name, body, metadata) {
      const service = services.get(name);
      if (service === undefined)
        throw new GatewayError('SERVICE_NOT_FOUND', `no service named ${JSON.stringify(name)}`);
      return invoke(pickFunction(service, Math.random()), body, metadata);
    },

    async close() {
      const served = [...functions.values()];
      functions.clear();
      for (const { code } of served) code.close();
      await Promise.all(served.map(({ pool }) => pool.close()));
    },
  };
}

/** Names the settings of a profile that only Noslate's planes apply. */
function notApplied({ rateLimit, resourceLimit, worker = {} }: FunctionProfile): string[] {
  const names: string[] = [];
  if (rateLimit !== undefined) names.push('rateLimit');
  if (resourceLimit?.cpu !== undefined) names.push('resourceLimit.cpu');
  if (worker.dispatchMode === 'round-robin') names.push('worker.dispatchMode');
  if (worker.v8Options !== undefined) names.push('worker.v8Options');
  return names;
}
