import type { HealthCheck } from './settings.ts';

/** Whether an instance is healthy, by what it answers to checks. */
export interface Health {
  readonly healthy: boolean;
  /** Begins to check, again and again. */
  start(): void;
  stop(): void;
}

/** What health checks need to know of an instance. */
export interface Patient {
  /** Makes a check. */
  check(): Promise<boolean>;
  isFrozen(): boolean;
  /** Changes with every freeze: a check that has met one says nothing. */
  freezes(): number;
}

/**
 * Follows the custom health check: an instance becomes unhealthy, or healthy again, by so many checks in a row.
 *
 * @see FC contract §1.2
 */
export function createHealth(
  { periodSeconds, failureThreshold, successThreshold }: HealthCheck,
  patient: Patient,
  onChange: (healthy: boolean) => void,
): Health {
  let healthy = true;
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;

  /** `row` counts the checks that differ from what the instance is held for. */
  function schedule(row: number): void {
    if (isStopped) return;
    timer = setTimeout(async () => {
      // a frozen one cannot answer, and is not asked
      const before = patient.freezes();
      const good = patient.isFrozen() ? healthy : await patient.check();
      const count = good === healthy || patient.freezes() !== before ? 0 : row + 1;
      const needed = healthy ? failureThreshold : successThreshold;
      if (count < needed) return schedule(count);
      healthy = good;
      onChange(healthy);
      schedule(0);
    }, periodSeconds * 1000);
  }

  return {
    get healthy() {
      return healthy;
    },
    start: () => schedule(0),
    stop() {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
