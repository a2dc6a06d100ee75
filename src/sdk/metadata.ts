import type { Metadata } from '../agent.ts';
import { epochOf } from '../clock.ts';
import type { RawHeaders } from '../headers.ts';
import type { SdkDeadline, SdkMetadata } from './client.ts';

/** FC ends every invocation after a day at the latest, so no body takes longer. */
const BODY_MS = 24 * 60 * 60 * 1000;
/** Node's timers hold no more; the SDK's gRPC and the data plane's both have one, and the SDK adds 1 s. */
const LONGEST_MS = 2 ** 31 - 1 - 2000;

/** Says in the SDK's shapes what a function is told about a request. */
export function toSdkMetadata({ url, method, headers, baggage, requestId, deadline }: Metadata): SdkMetadata {
  return {
    url,
    method,
    headers: toPairs(headers),
    baggage: toPairs(baggage),
    requestId,
    deadline: toSdkDeadline(epochOf(deadline)),
  };
}

/**
 * Makes the one deadline that the SDK takes serve the two that it makes of it.
 *
 * It writes the deadline as a number into the request, where it bounds the wait for a worker and for the
 * head on the data plane: that must be ours, or a function that hangs holds its slots, and a call that
 * nobody waits for its place in the queue, for as long as a body may take. And it adds 1 s for gRPC, which
 * then cuts the whole call, long bodies included: that must be far. So the value is ours when it is made
 * a number, and a day later as a term of a sum. An SDK that did otherwise would only cut long bodies.
 *
 * @param deadline - epoch ms, less than 24.8 days ahead.
 * @see noslated src/sdk/client.ts, `#invoke`; ECMA-262, "ToPrimitive": `+` has the hint `default`
 */
export function toSdkDeadline(deadline: number): SdkDeadline {
  const far = Math.min(deadline + BODY_MS, Date.now() + LONGEST_MS);
  return { [Symbol.toPrimitive]: hint => (hint === 'number' ? deadline : far) };
}

function toPairs(raw: RawHeaders): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i < raw.length; i += 2) pairs.push([raw[i] as string, raw[i + 1] as string]);
  return pairs;
}
