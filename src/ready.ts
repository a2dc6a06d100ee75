import type { Agent } from './agent.ts';

/** Why an instance should get no calls, each in a sentence for an operator; nothing when it should. */
export type Reasons = readonly string[];

/**
 * Makes what looks whether calls would be answered now. Resolves within a second, whatever hangs. Who asks while it looks
 * is told the same.
 */
export function createReadiness(gateway: {
  readonly agent: Agent | undefined;
  readonly draining: boolean;
}): () => Promise<Reasons> {
  let pending: Promise<Reasons> | undefined;
  async function look(): Promise<Reasons> {
    const { agent, draining } = gateway;
    if (draining) return ['the instance is stopping'];
    return agent === undefined ? ['the agent is being made'] : await agent.faults();
  }
  return () => {
    pending ??= look().finally(() => {
      pending = undefined;
    });
    return pending;
  };
}

/** The answer to who asks: 200 or 503, and why as JSON. */
export function describeReadiness(reasons: Reasons): { status: 200 | 503; body: string } {
  const isReady = reasons.length === 0;
  return { status: isReady ? 200 : 503, body: `${JSON.stringify({ ready: isReady, reasons })}\n` };
}
