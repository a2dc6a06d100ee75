import type { Agent } from './agent.ts';
import { now } from './clock.ts';
import { GatewayError } from './errors.ts';
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
    const ms = seconds * 1000 * SHARE;
    const deadline = now() + ms;
    const agent = gateway.agent ?? (await untilReady(gateway, ms));
    await agent.warm(deadline);
  },

  /** What is held in memory may never be written: the instance can be stopped without another thaw. */
  async 'pre-freeze'({ log, summary, traces }) {
    await traces?.flush(false);
    summary.write('pre-freeze');
    log.flush();
  },

  /** The answer means that nothing is in flight; the process ends after it. */
  async 'pre-stop'(gateway, { res }) {
    res.on('close', () => gateway.stop());
    await gateway.drain();
    await gateway.traces?.flush(false);
  },
};

/** Waits for the agent, which knows no deadline before it is there. */
function untilReady({ ready }: Gateway, ms: number): Promise<Agent> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new GatewayError('UNAVAILABLE', `no agent was ready within ${Math.round(ms)} ms`));
    }, ms);
    ready.then(agent => {
      clearTimeout(timer);
      resolve(agent);
    });
  });
}
