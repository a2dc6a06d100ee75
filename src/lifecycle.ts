import { GatewayError, toGatewayError } from './errors.ts';
import type { Exchange, Gateway } from './gateway.ts';
import { secondsOf } from './headers.ts';

/** FC's initializer timeout when it sends none, seconds. */
const INITIALIZATION_TIMEOUT = 3;
/** The answer must be there in time: this share of the timeout is for us, the rest for its way back. */
const SHARE = 0.9;

type Hook = (gateway: Gateway, exchange: Exchange) => Promise<void>;

/**
 * FC's lifecycle hooks. Each resolves when FC may be answered 200, and rejects with a GatewayError that
 * is answered 404, FC's word for a failed hook.
 *
 * @see FC contract §2, §7
 */
export const hooks: Readonly<Record<'initialize' | 'pre-freeze' | 'pre-stop', Hook>> = {
  /** Ready means: the first invocation will find its worker warm. Safe to repeat. */
  async initialize(gateway, { req }) {
    const seconds = secondsOf(req.headers['x-fc-initialization-timeout'], INITIALIZATION_TIMEOUT);
    await within(seconds * 1000 * SHARE, async () => (await gateway.ready).warm());
  },

  /** What is held in memory may never be written: the instance can be stopped without another thaw. */
  async 'pre-freeze'({ log }) {
    log.flush();
  },

  /** The answer means that nothing is in flight; the process ends after it. */
  async 'pre-stop'(gateway, { res }) {
    res.on('close', () => gateway.stop());
    await gateway.drain();
  },
};

async function within(ms: number, work: () => Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new GatewayError('UNAVAILABLE', `not ready within ${Math.round(ms)} ms`)), ms);
  });
  try {
    await Promise.race([work(), late]);
  } catch (error) {
    throw toGatewayError(error);
  } finally {
    clearTimeout(timer);
  }
}
