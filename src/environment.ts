import type { KeyValuePair, Profile } from './profile.ts';

/**
 * Stands for an empty list, which must not be sent: on its way it becomes none at all, and a control plane then answers
 * `Cannot read properties of undefined (reading 'reduce')` and keeps what it had.
 */
const NONE: readonly KeyValuePair[] = [{ key: 'NO_PLATFORM_ENVIRONMENT', value: '1' }];

/** What to set as the environments of all workers so that they have these and no others of before. */
export function settable(environments: readonly KeyValuePair[]): readonly KeyValuePair[] {
  return environments.length > 0 ? environments : NONE;
}

/**
 * What a worker's environment may have so that turfd starts it: turfd takes 4096 bytes for all that it is told of a
 * worker, and breaks off above. The rest is paths and names; environments above 2.6 to 3.1 KB were seen to fail.
 */
export const MAX_ENVIRONMENT_BYTES: number = 2500;

/** How many bytes a function's environment takes on its way to turfd: that of all functions, and its own. */
export function environmentBytes(
  { environments }: Pick<Profile, 'environments'>,
  { environments: own = [] }: Profile['functions'][number],
): number {
  let bytes = 0;
  // a string in JSON, and a comma
  for (const { key, value } of [...environments, ...own])
    bytes += Buffer.byteLength(JSON.stringify(`${key}=${value}`)) + 1;
  return bytes;
}
