import { readFileSync } from 'node:fs';
import type { Server } from './helpers.ts';

/** Memory that a process has, bytes. Only Linux tells of another one. */
export const rss = ({ pid }: Pick<Server, 'pid'>): number => {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1]) * 1024;
};

/** The most that a server grows while `work` runs, over what it was, bytes. */
export async function growth(server: Pick<Server, 'pid'>, work: () => Promise<void>): Promise<number> {
  const before = rss(server);
  let most = before;
  const probe = setInterval(() => {
    most = Math.max(most, rss(server));
  }, 50);
  try {
    await work();
  } finally {
    clearInterval(probe);
  }
  return Math.max(most, rss(server)) - before;
}
