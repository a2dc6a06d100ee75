import type { KeyValuePair } from './profile.ts';

/**
 * Stands for an empty list, which must not be sent: on its way it becomes none at all, and a control plane then answers
 * `Cannot read properties of undefined (reading 'reduce')` and keeps what it had.
 */
const NONE: readonly KeyValuePair[] = [{ key: 'NO_PLATFORM_ENVIRONMENT', value: '1' }];

/** What to set as the environments of all workers so that they have these and no others of before. */
export function settable(environments: readonly KeyValuePair[]): readonly KeyValuePair[] {
  return environments.length > 0 ? environments : NONE;
}
