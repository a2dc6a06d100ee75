import { now } from '../../clock.ts';
import type { Answer } from './answers.ts';
import type { Tell } from './life.ts';
import { readable } from './relay.ts';
import type { FunctionSettings } from './settings.ts';

/**
 * Gives what accepts asynchronous calls: at once, with 202. They are done later, and again while they fail, unless they are
 * too old by then.
 *
 * @param clock - ms; only differences count.
 */
export function createAsync(
  { asyncRetries, asyncMaxAge }: Pick<FunctionSettings, 'asyncRetries' | 'asyncMaxAge'>,
  tell: Tell,
  clock: () => number = now,
): (requestId: string, attempt: (retryCount: number) => Promise<Answer>) => Answer {
  return (id, attempt) => {
    const accepted = clock();
    const work = async (): Promise<void> => {
      for (let count = 0; count <= asyncRetries; count++) {
        if (count > 0) {
          if (clock() - accepted > asyncMaxAge * 1000) return tell('expired', { requestId: id, count });
          tell('retry', { requestId: id, count });
        }
        const answer = await attempt(count).catch(() => undefined);
        answer?.body.resume();
        if (answer !== undefined && answer.errorType === undefined && answer.status < 500) return;
      }
    };
    work();
    return {
      status: 202,
      headers: [
        ['Content-Length', '0'],
        ['X-Fc-Request-Id', id],
      ],
      body: readable(Buffer.alloc(0)),
      requestId: id,
      instance: undefined,
      errorType: undefined,
    };
  };
}
