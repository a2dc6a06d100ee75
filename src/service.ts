import type { ServiceProfile } from './profile.ts';

/**
 * Names the function that a call of a service goes to: the first selector at which the sum of the
 * proportions passes `random`, else the last, whatever the proportions add up to.
 *
 * @param random - at least 0, below 1; drawn anew for each call.
 * @see Noslate contract §5, "services"
 */
export function pickFunction({ selector, selectors = [] }: ServiceProfile, random: number): string {
  let name = selector?.functionName ?? '';
  let sum = 0;
  for (const share of selectors) {
    name = share.selector.functionName;
    sum += share.proportion;
    if (sum > random) break;
  }
  return name;
}
