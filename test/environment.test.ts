import * as assert from 'uvu/assert';
import { environmentBytes, settable } from '../src/environment.ts';
import type { FunctionProfile } from '../src/profile.ts';
import { suite } from './helpers.ts';

const profile = (name: string, ...environments: { key: string; value: string }[]): FunctionProfile => ({
  name,
  runtime: 'nodejs',
  url: 'file:///f',
  signature: '1',
  handler: 'a.b',
  environments,
});

const environment = suite('environment');

environment('should never be sent as an empty list', () => {
  assert.equal(settable([]), [{ key: 'NO_PLATFORM_ENVIRONMENT', value: '1' }]);
  assert.not.match(settable([])[0]?.key ?? '', /^NOSLATED?_/);
  const own = [{ key: 'A', value: '' }];
  assert.is(settable(own), own);
});

environment('should be measured as turfd is told it, that of all functions and their own', () => {
  const all = { environments: [{ key: 'A', value: 'b' }] };
  // "A=b", and "C=\"ä", with their commas
  assert.is(environmentBytes(all, profile('f')), 6);
  assert.is(environmentBytes(all, profile('f', { key: 'C', value: '"ä' })), 6 + 9);
});

environment.run();
